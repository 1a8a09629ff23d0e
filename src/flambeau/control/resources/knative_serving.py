"""Service, Configuration and Route (Knative): a component of an InferenceService as Knative's users look for it. Written by controllers
only."""

from __future__ import annotations

from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Kind
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_schema import object_schema
from flambeau.control.resources.ready_columns import READY_COLUMNS


def _status(name: str, field: str) -> Column:
    return Column(name, lambda obj, _: find(obj, "status", field))


_URL = _status("URL", "url")
_LATEST = (_status("LatestCreated", "latestCreatedRevisionName"), _status("LatestReady", "latestReadyRevisionName"))
_CATEGORIES = ("all", "knative", "serving")


def _kind(name: str, plural: str, short_names: tuple[str, ...], columns: tuple[Column, ...]) -> Kind:
    return Kind(
        group="serving.knative.dev",
        versions=("v1",),
        kind=name,
        plural=plural,
        singular=name.lower(),
        short_names=short_names,
        categories=_CATEGORIES,
        columns=columns,
        schema=object_schema({"spec": ANYTHING, "status": ANYTHING}),
        read_only=True,
    )


KNATIVE_SERVICE = _kind("Service", "services", ("kservice", "ksvc"), (_URL, *_LATEST, *READY_COLUMNS))
CONFIGURATION = _kind("Configuration", "configurations", ("config", "cfg"), (*_LATEST, *READY_COLUMNS))
ROUTE = _kind("Route", "routes", ("rt",), (_URL, *READY_COLUMNS))
