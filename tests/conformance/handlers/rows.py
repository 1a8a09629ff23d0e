"""Answers each row of a batch with the batch's size; one that says so fails alone, by the item or by all."""

# mypy: ignore-errors


def handle(data, context):
    if data is None:
        return None
    bodies = [bytes(row.get("body") or b"").decode() for row in data]
    if "all fail" in bodies:
        raise ValueError("one of us fails")
    return [{"rows": len(data), "body": body} for body in bodies]
