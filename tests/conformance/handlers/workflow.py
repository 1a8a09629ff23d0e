"""The functions of the workflows."""

# mypy: ignore-errors


def pre(data, context):
    if data is None:
        return None
    return [bytes(row.get("body") or row.get("data") or b"") + b"+pre" for row in data]


def post(data, context):
    if data is None:
        return None
    return [b"post(" + b"|".join(key.encode() + b"=" + bytes(row[key]) for key in sorted(row)) + b")" for row in data]


def split(data, context):
    return None if data is None else [b"dict" for row in data]


def broken(data, context):
    if data is None:
        return None
    raise ValueError("this node is broken")
