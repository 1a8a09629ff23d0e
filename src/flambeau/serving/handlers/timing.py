"""``@timed``: a handler's steps as metrics, where its model-config.yaml asks for them; ``@timeit``: a function's times, printed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any


def timed(step: Callable[..., Any]) -> Callable[..., Any]:
    """Record how long a handler's method takes as ``ts_handler_<method>``, in milliseconds.

    Only while ``handler.profile`` in model-config.yaml is true; otherwise the method is called straight.
    """

    @functools.wraps(step)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = getattr(self, "model_yaml_config", None) or {}
        if not (config.get("handler") or {}).get("profile", False):
            return step(self, *args, **kwargs)
        started = time.perf_counter()
        result = step(self, *args, **kwargs)
        self.context.metrics.add_time(f"ts_handler_{step.__name__}", (time.perf_counter() - started) * 1000, unit="ms")
        return result

    return wrapper


def timeit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Print how long each call of a function takes, and how much of that its process computes."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        started, computed = time.perf_counter(), time.process_time()
        result = function(*args, **kwargs)
        took, computing = time.perf_counter() - started, time.process_time() - computed
        print(f"func: {function.__name__!r} took a total of {took:2.4f} sec to run and {computing:2.4f} sec of CPU time")
        return result

    return wrapper
