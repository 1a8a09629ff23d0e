"""Answers as the body's first word says; the kinds of results and failures a handler can have."""

# mypy: ignore-errors

import json
import os
import time

import torch
from ts.utils.util import PredictionException


class AnswerHandler:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return self.one(data, context, *(data[0].get("body") or b"").decode().split(" "))

    def one(self, data, context, word, *rest):
        values = {
            "str": "text ü",
            "bytes": b"\x00\x01\xff",
            "bytearray": bytearray(b"raw"),
            "dict": {"b": 1, "a": [1, 2.5, None, True, "ü"]},
            "list": [1, "two", {"three": 3}],
            "tuple": (1, 2),
            "int": 7,
            "float": 0.1,
            "bool": True,
            "none": None,
            "empty": "",
            "emptylist": [],
            "nan": float("nan"),
            "infinity": [float("inf"), -float("inf")],
            "set": {1, 2},
            "nested": {"tensor": "x", "inner": {"k": [[1, 2], [3, 4]]}},
            "intkeys": {1: "a", None: "b", False: "c"},
            "jsontext": '{"already": "json"}',
            "long": "x" * 100000,
        }
        if word in values:
            return [values[word]]
        return getattr(self, word)(data, context, *rest)

    def tensor(self, data, context):
        return [torch.tensor([1.0, 2.0])]

    def contenttype(self, data, context, value):
        context.set_response_content_type(0, value)
        return ["typed"]

    def header(self, data, context, name, value):
        context.set_response_header(0, name, value)
        return [{"header": name}]

    def status(self, data, context, code, *phrase):
        context.set_response_status(code=int(code), phrase=" ".join(phrase), idx=0)
        return ["with a status"]

    def allstatus(self, data, context, code):
        context.set_all_response_status(code=int(code), phrase="All")
        return ["all of them"]

    def fail(self, data, context, kind, *text):
        raise {"value": ValueError, "runtime": RuntimeError, "memory": MemoryError, "key": KeyError}[kind](" ".join(text))

    def prediction(self, data, context, code):
        raise PredictionException("refused by the handler", int(code))

    def predictiondefault(self, data, context):
        raise PredictionException("refused by default")

    def notlist(self, data, context):
        return {"not": "a list"}

    def nothing(self, data, context):
        return None

    def toolong(self, data, context):
        return [1, 2]

    def tooshort(self, data, context):
        return []

    def die(self, data, context, code):
        os._exit(int(code))

    def sleep(self, data, context, seconds):
        time.sleep(float(seconds))
        return [f"slept {seconds}"]

    def size(self, data, context, count):
        return ["y" * int(count)]

    def header_of(self, data, context, name):
        return [context.get_request_header(0, name)]

    def headers(self, data, context):
        names = sorted(context.get_all_request_header(0))
        return [json.dumps({name: context.get_request_header(0, name) for name in names})]
