"""What every kind says about itself, and the key of an object.

Called by the store (scope, read-only), the API server (everything) and the command line (columns through the API server).
Never does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Object = dict[str, Any]
"""A Kubernetes object: apiVersion, kind, metadata, and what its kind adds."""


class Key(NamedTuple):
    """Where an object lives in the store; the API version is not part of it."""

    kind: str
    """``<plural>.<group>`` or ``<plural>`` for the core group, as in ``inferenceservices.serving.kserve.io``."""
    namespace: str
    """Empty for cluster-scoped kinds."""
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or odd, about an object."""

    path: str
    """As kubectl users write it: ``spec.predictor.minReplicas``."""
    message: str
    """What is wrong, the value found, what is allowed, and the likely thing meant."""
    value: Any = None
    reason: str = "FieldValueInvalid"
    """Kubernetes' cause types: FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, FieldValueForbidden …"""


@dataclass(frozen=True, slots=True)
class Review:
    """What a check of an object found."""

    errors: tuple[Finding, ...] = ()
    """Any of these refuses the object."""
    warnings: tuple[str, ...] = ()
    """Shown by kubectl as ``Warning: …``."""


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column of ``kubectl get``."""

    name: str
    """As the Table says it: ``Ready``; kubectl prints it in upper case."""
    cell: Callable[[Object, float], str | int | None]
    """(object, now in seconds since the epoch) -> the cell; None prints as empty."""
    type: str = "string"
    wide: bool = False
    """Shown only by ``-o wide``."""
    description: str = ""


NAME_COLUMN = Column("Name", lambda obj, _: obj["metadata"]["name"])


def _no_defaults(_: Object) -> None:
    return None


def _as_it_is(obj: Object, _: str) -> Object:
    return obj


def _no_checks(_: Object, __: Object | None) -> Review:
    return Review()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object."""

    group: str
    """Empty for the core group."""
    versions: tuple[str, ...]
    """Served versions, the preferred first; all share one storage form, the preferred one's."""
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    """Beyond Name; Age is listed by the kind itself, where Kubernetes puts it. A kind that lists Name itself (events, which show it
    last) gets no other one: see ``table_columns``."""
    schema: Mapping[str, Any] | None = None
    """OpenAPI v3 structural schema of the whole object, or None: any field is taken."""
    has_status: bool = True
    """There is a ``/status`` subresource: writes to the object leave status alone, and the other way round."""
    read_only: bool = False
    """Users can't write it; controllers can."""
    instead_of_writing: str = ""
    """What a user is told to do who tries; empty where it is to write the InferenceService that the object is made from."""
    default: Callable[[Object], None] = field(default=_no_defaults)
    """Fill in defaults in place, at admission."""
    check: Callable[[Object, Object | None], Review] = field(default=_no_checks)
    """(new object, old object or None at create) -> findings; after defaulting."""

    check_among: Callable[[Object, Sequence[Object]], Iterable[Finding]] | None = None
    """(new object, the kind's other objects of its namespace, or of the cluster) -> what is wrong between them; after ``check``."""

    shown: Callable[[Object, str], Object] = field(default=_as_it_is)
    """(stored object, version) -> how that version shows it, where it differs; ``default`` does the way back."""

    @property
    def id(self) -> str:
        """Return the key's first part: ``<plural>.<group>`` or ``<plural>``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """Return the preferred version as objects say it: ``serving.kserve.io/v1beta1`` or ``v1``."""
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]

    @property
    def table_columns(self) -> tuple[Column, ...]:
        """Return all columns of ``kubectl get``, Name included."""
        if any(column.name == NAME_COLUMN.name for column in self.columns):
            return self.columns
        return (NAME_COLUMN, *self.columns)

    def key(self, obj: Object) -> Key:
        """Return the object's key."""
        metadata = obj["metadata"]
        return Key(self.id, metadata.get("namespace", "") if self.namespaced else "", metadata["name"])
