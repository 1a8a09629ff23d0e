"""Answers with what it was given: each row's keys, the types of the values, and their text."""

# mypy: ignore-errors


def _plain(value):
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    return value


class EchoHandler:
    def initialize(self, context):
        self.context = context

    def handle(self, data, context):
        return [{key: {"type": type(value).__name__, "value": _plain(value)} for key, value in row.items()} for row in data]
