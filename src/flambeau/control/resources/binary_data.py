"""Base64 values and data keys, as in Secrets and ConfigMaps. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from flambeau.control.resources.kind import Finding

DATA_BYTES_MAX = 1024 * 1024
"""Of one Secret or ConfigMap, decoded; as Kubernetes."""

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_CHARS_MAX = 253


def decoded_size(text: str) -> int | None:
    """Return how many bytes a base64 text stands for, or None if it isn't base64; line breaks may be in it."""
    try:
        return len(base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True))
    except (binascii.Error, ValueError):
        return None


def check_keys(values: Any, path: str) -> Iterator[Finding]:
    """Yield a finding for each key that can't be a file's name."""
    for key in values if isinstance(values, dict) else ():
        if not _KEY.fullmatch(key) or len(key) > _KEY_CHARS_MAX or key in (".", ".."):
            yield Finding(f"{path}[{key}]", "a key must be of letters, digits, - _ and . (253 at most)", key)


def check_unchanged(new: dict[str, Any], old: dict[str, Any] | None, fields: tuple[str, ...]) -> Iterator[Finding]:
    """Yield findings where an object that says ``immutable: true`` would change."""
    if old is None or not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield Finding("immutable", "cannot be taken back: delete the object and create it anew", reason="FieldValueForbidden")
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            yield Finding(field, "cannot be changed: the object is immutable", reason="FieldValueForbidden")
