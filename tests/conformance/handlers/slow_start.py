"""Takes its time to load."""

# mypy: ignore-errors

import time


class SlowStart:
    def initialize(self, context):
        time.sleep(3)

    def handle(self, data, context):
        return ["slow"] * len(data)
