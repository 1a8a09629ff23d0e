"""Gateway (Istio): which hosts a gateway takes; here it names the one gateway there is."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.kind import Kind

ISTIO_GATEWAY = Kind(
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    kind="Gateway",
    plural="gateways",
    singular="gateway",
    short_names=("gw",),
    categories=("istio-io", "networking-istio-io"),
    columns=(AGE_COLUMN,),
)
