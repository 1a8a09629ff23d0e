"""Where pods go: affinity, tolerations, spread. Kept as written; one machine has one place. Pure."""

from __future__ import annotations

from flambeau.control.resources.fields.references import LABEL_SELECTOR, REQUIREMENT
from flambeau.control.resources.fields.words import INT32, INT64, STRING, STRINGS, Schema, an_object, fields, whole_list_of

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def _weighted(field: str, term: Schema) -> Schema:
    return an_object({"weight": INT32, field: term}, (field, "weight"))


_NODES = an_object(fields("matchExpressions", "matchFields", of=whole_list_of(REQUIREMENT)))
_NODE_AFFINITY = an_object(
    {
        _REQUIRED: an_object({"nodeSelectorTerms": whole_list_of(_NODES)}, ("nodeSelectorTerms",)),
        _PREFERRED: whole_list_of(_weighted("preference", _NODES)),
    }
)

_PODS = an_object(
    {
        "topologyKey": STRING,
        **fields("labelSelector", "namespaceSelector", of=LABEL_SELECTOR),
        **fields("namespaces", "matchLabelKeys", "mismatchLabelKeys", of=STRINGS),
    },
    ("topologyKey",),
)
_POD_AFFINITY = an_object({_REQUIRED: whole_list_of(_PODS), _PREFERRED: whole_list_of(_weighted("podAffinityTerm", _PODS))})

AFFINITY = an_object({"nodeAffinity": _NODE_AFFINITY, **fields("podAffinity", "podAntiAffinity", of=_POD_AFFINITY)})
TOLERATION = an_object({**fields("key", "operator", "value", "effect", of=STRING), "tolerationSeconds": INT64})
SPREAD = an_object(
    {
        **fields("topologyKey", "whenUnsatisfiable", "nodeAffinityPolicy", "nodeTaintsPolicy", of=STRING),
        **fields("maxSkew", "minDomains", of=INT32),
        "labelSelector": LABEL_SELECTOR,
        "matchLabelKeys": STRINGS,
    },
    ("maxSkew", "topologyKey", "whenUnsatisfiable"),
)
