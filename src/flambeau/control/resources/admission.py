"""What happens to an object at the door: defaults filled in, everything wrong with it found. Pure.

The API server calls ``review`` before the store; controllers write without it.
"""

from __future__ import annotations

from flambeau.control.resources.kind import Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_meta import check_metadata
from flambeau.control.resources.schema import drop_nulls, fill_defaults, invalid_values, unknown_fields

BUILT_IN_LABEL = "flambeau.dev/built-in"
"""Objects that stand for something that isn't the user's to change carry it."""


def review(kind: Kind, obj: Object, old: Object | None, strict: bool = True) -> Review:
    """Default an object in place and say what is wrong with it.

    Args:
        kind: its kind.
        obj: what a person wants; null fields go, defaults come, and at creation a status goes.
        old: what is stored, or None at creation.
        strict: unknown fields refuse the object; otherwise they are warnings.

    Returns:
        All findings of schema, metadata and the kind's own rules, each once.
    """
    errors: list[Finding] = []
    warnings: list[str] = []
    if old is None and kind.has_status:
        obj.pop("status", None)
    if kind.schema is not None:
        unknown = list(unknown_fields(obj, kind.schema))
        errors += unknown if strict else ()
        warnings += () if strict else (finding.message for finding in unknown)
        drop_nulls(obj, kind.schema)
        fill_defaults(obj, kind.schema)
    kind.default(obj)
    if kind.schema is not None:
        errors += invalid_values(obj, kind.schema)
    errors += check_metadata(kind, obj)
    if old is not None and find(old, "metadata", "labels", BUILT_IN_LABEL):
        message = f"{kind.kind} {old['metadata']['name']} is built in and shows how things are: it cannot be changed"
        errors.append(Finding("metadata", message, reason="FieldValueForbidden"))
    own = kind.check(obj, old)
    complained = {finding.path for finding in errors}
    errors += (finding for finding in own.errors if finding.path not in complained)
    return Review(tuple(errors), (*warnings, *own.warnings))
