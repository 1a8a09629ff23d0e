"""An explaining handler as users write them on BaseHandler, without a model."""

# mypy: ignore-errors

from ts.torch_handler.base_handler import BaseHandler


class Summed(BaseHandler):
    def initialize(self, context):
        self.context = context
        self.initialized = True

    def preprocess(self, data):
        return data

    def inference(self, data, *args, **kwargs):
        return data

    def postprocess(self, data):
        return [{"predicted": self._text(row)} for row in data]

    def get_insights(self, tensor_data, raw, target=0):
        return [{"explained": self._text(row), "target": target} for row in tensor_data]

    def describe_handle(self):
        return {"about": "summed"}

    def _text(self, row):
        value = row.get("data") or row.get("body") if isinstance(row, dict) else row
        return bytes(value).decode() if isinstance(value, (bytes, bytearray)) else value
