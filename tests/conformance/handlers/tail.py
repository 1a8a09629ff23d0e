"""Appends its mark to what it gets; answers JSON when asked for `dict`."""

# mypy: ignore-errors


def handle(data, context):
    if data is None:
        return None
    return [{"got": bytes(row["body"]).decode()} if bytes(row["body"]) == b"dict" else bytes(row["body"]) + b"+tail" for row in data]
