"""Sees what an envelope passes: answers with it."""

# mypy: ignore-errors


def handle(data, context):
    if data is None:
        return None
    return [[str(type(data).__name__), len(data), _plain(data)]] if _says(data, "wrap") else _plain(data)


def _says(data, word):
    return word in str(data)


def _plain(data):
    return [bytes(row).decode() if isinstance(row, (bytes, bytearray)) else row for row in data]
