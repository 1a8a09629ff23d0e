"""ServiceAccount: whose credentials a pod uses, by the names of its secrets."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.kind import Column, Kind
from flambeau.control.resources.lookup import find

SERVICE_ACCOUNT = Kind(
    group="",
    versions=("v1",),
    kind="ServiceAccount",
    plural="serviceaccounts",
    singular="serviceaccount",
    short_names=("sa",),
    columns=(Column("Secrets", lambda obj, _: len(find(obj, "secrets") or ()), type="integer"), AGE_COLUMN),
    has_status=False,
)
