"""``from ts.utils.timeit_decorator import timeit``."""

from flambeau.serving.handlers.timing import timeit

__all__ = ["timeit"]
