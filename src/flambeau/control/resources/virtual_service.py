"""VirtualService (Istio): routes of a person's own through the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find


def _as_json(*path: str) -> Callable[[Object, float], str | None]:
    """Lists print as JSON in custom columns, as in ``["mnist.example.com"]``."""

    def cell(obj: Object, _: float) -> str | None:
        value = find(obj, *path)
        return None if value is None else json.dumps(value, separators=(",", ":"))

    return cell


VIRTUAL_SERVICE = Kind(
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    kind="VirtualService",
    plural="virtualservices",
    singular="virtualservice",
    short_names=("vs",),
    categories=("istio-io", "networking-istio-io"),
    columns=(Column("Gateways", _as_json("spec", "gateways")), Column("Hosts", _as_json("spec", "hosts")), AGE_COLUMN),
)
