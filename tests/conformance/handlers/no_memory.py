# mypy: ignore-errors


class NoMemory:
    def initialize(self, context):
        raise MemoryError("all gone")

    def handle(self, data, context):
        return data
