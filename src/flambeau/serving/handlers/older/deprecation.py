"""``@deprecated``: handlers mark what they will drop."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any


def deprecated(version: str, replacement: str = "", klass: type[Warning] = PendingDeprecationWarning) -> Callable[[Any], Any]:
    """Warn when a function is called.

    Args:
        version: since when it is deprecated.
        replacement: what to call instead.
        klass: the warning's class.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            instead = f"; use {replacement}" if replacement else ""
            warnings.warn(f"{function.__name__} is deprecated since {version}{instead}", klass, stacklevel=2)
            return function(*args, **kwargs)

        return wrapper

    return mark
