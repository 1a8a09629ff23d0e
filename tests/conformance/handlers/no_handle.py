# mypy: ignore-errors


class Without:
    def initialize(self, context):
        pass
