"""Answers a v2 request with the kind of result its first value names."""

# mypy: ignore-errors

import numpy as np


def handle(data, context):
    if data is None:
        return None
    first = data[0]["data"]
    word = first[0] if isinstance(first, list) and first else first
    kinds = {
        "ints": [[1, 2, 3]],
        "floats": [[0.5, 1.5]],
        "bools": [[True, False]],
        "texts": [["a", "b"]],
        "number": [7],
        "text": ["one"],
        "matrix": [[[1, 2], [3, 4]]],
        "array": [np.array([1.0, 2.0], dtype=np.float32)],
        "two": [[1], [2]],
    }
    return kinds.get(word, data[0]["data"] if isinstance(first, list) else data)
