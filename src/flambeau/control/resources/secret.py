"""Secret: credentials and certificates, base64 in ``data``."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.kind import Column, Kind
from flambeau.control.resources.lookup import find

SECRET = Kind(
    group="",
    versions=("v1",),
    kind="Secret",
    plural="secrets",
    singular="secret",
    columns=(
        Column("Type", lambda obj, _: str(obj.get("type") or "Opaque")),
        Column("Data", lambda obj, _: len(find(obj, "data") or ()), type="integer"),
        AGE_COLUMN,
    ),
    has_status=False,
)
