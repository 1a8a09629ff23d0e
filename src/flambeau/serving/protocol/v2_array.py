"""The array that a handler gets for a tensor that came in binary. Imports numpy: loaded with the first such tensor."""

from __future__ import annotations

from typing import Any

import numpy


class InputArray(numpy.ndarray[Any, numpy.dtype[Any]]):
    """Numbers of one input, a writable view on the request's bytes.

    It is true when it holds anything, as a list is: handlers written for JSON say ``row.get("data") or row.get("body")``. Whatever is
    computed from it is a plain array again.
    """

    def __bool__(self) -> bool:
        return self.size > 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options:
            options["out"] = tuple(_plain(array) for array in options["out"])
        return getattr(ufunc, method)(*map(_plain, inputs), **options)


def _plain(value: Any) -> Any:
    return value.view(numpy.ndarray) if isinstance(value, InputArray) else value
