"""Its entry point has a name of its own."""

# mypy: ignore-errors


def serve(data, context):
    return None if data is None else ["by serve"] * len(data)


def handle(data, context):
    return None if data is None else ["by handle"] * len(data)
