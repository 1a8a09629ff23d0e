"""ServiceAccount: whose credentials a pod uses, by the names of its secrets."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.words import BOOLEAN, STRING, an_object, explained, fields, list_of
from flambeau.control.resources.kind import Column, Kind, Object, Review
from flambeau.control.resources.lookup import find, mappings_at
from flambeau.control.resources.object_schema import object_schema

_REFERENCE = an_object(fields("apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath", of=STRING))
_SCHEMA = {
    "secrets": explained(list_of(_REFERENCE), "Secrets whose credentials are used to fetch models."),
    "imagePullSecrets": list_of(an_object({"name": STRING})),
    "automountServiceAccountToken": BOOLEAN,
}


def _check(obj: Object, _: Object | None) -> Review:
    warnings = [
        f"secrets[{index}]: names no secret: write - name: SECRET"
        for index, entry in enumerate(mappings_at(obj, "secrets"))
        if not entry.get("name")
    ]
    if mappings_at(obj, "imagePullSecrets") and not mappings_at(obj, "secrets"):
        warnings.append("imagePullSecrets: models are fetched with what is listed under secrets, not with these")
    return Review((), tuple(warnings))


SERVICE_ACCOUNT = Kind(
    group="",
    versions=("v1",),
    kind="ServiceAccount",
    plural="serviceaccounts",
    singular="serviceaccount",
    short_names=("sa",),
    columns=(Column("Secrets", lambda obj, _: len(find(obj, "secrets") or ()), type="integer"), AGE_COLUMN),
    schema=object_schema(_SCHEMA),
    has_status=False,
    check=_check,
)
