"""How many pods, by what measure, and how they are replaced. Pure."""

from __future__ import annotations

from flambeau.control.resources.fields.references import NAMED
from flambeau.control.resources.fields.words import (
    INT32,
    INT_OR_STRING,
    QUANTITY,
    STRING,
    Schema,
    an_object,
    explained,
    fields,
    list_of,
    one_of,
    whole_list_of,
)

_TARGET_TYPE = one_of("Utilization", "Value", "AverageValue")
_TARGET = an_object({"type": _TARGET_TYPE, **fields("value", "averageValue", of=QUANTITY), "averageUtilization": INT32})

RESOURCE_METRIC = an_object({"name": one_of("cpu", "memory"), "target": _TARGET}, ("name", "target"))
"""What pods use of cpu or memory, and what they should."""

_QUERY_FIELDS = fields("query", "serverAddress", of=STRING)
_POD_QUERY = an_object({"backend": one_of("opentelemetry"), **_QUERY_FIELDS, "metricNames": list_of(STRING), "operationOverTime": STRING})
_EXTERNAL_QUERY = an_object({"backend": one_of("prometheus", "graphite"), **_QUERY_FIELDS, "namespace": STRING})
_CREDENTIALS = an_object({"authModes": STRING, "authenticationRef": NAMED}, ("authenticationRef",))

_POD_METRIC = an_object({"metric": _POD_QUERY, "target": _TARGET}, ("metric", "target"))
_EXTERNAL = an_object({"metric": _EXTERNAL_QUERY, "target": _TARGET, "authenticationRef": _CREDENTIALS}, ("metric", "target"))
_METRIC = an_object(
    {
        "type": explained(one_of("Resource", "External", "PodMetric"), "Which of the three the measure is."),
        "resource": explained(RESOURCE_METRIC, "What pods use of cpu or memory."),
        "podmetric": explained(_POD_METRIC, "What a collector of OpenTelemetry says of the pods."),
        "external": explained(_EXTERNAL, "What a query of Prometheus or Graphite says."),
    },
    ("type",),
)

_STEP = an_object({"type": STRING, **fields("value", "periodSeconds", of=INT32)}, ("periodSeconds", "type", "value"))
_PACE = an_object(
    {
        "stabilizationWindowSeconds": explained(INT32, "How far back the wish is looked at that goes least far."),
        "selectPolicy": explained(STRING, "Which policy counts: Max, Min or Disabled."),
        "policies": explained(whole_list_of(_STEP), "How many pods, or what share of them, may change in how many seconds."),
        "tolerance": explained(QUANTITY, "How far the measure may be off without a change."),
    }
)
PACES = an_object(
    {"scaleUp": explained(_PACE, "How fast there may be more."), "scaleDown": explained(_PACE, "How fast there may be fewer.")}
)
"""How fast there may be more pods, and fewer."""

_ROLLING = {
    "maxSurge": explained(INT_OR_STRING, "How many pods there may be over the wanted number."),
    "maxUnavailable": explained(INT_OR_STRING, "How many of the wanted number may be missing."),
}
_ROLL_OUT = an_object(
    {
        "type": explained(STRING, "RollingUpdate or Recreate."),
        "rollingUpdate": explained(an_object(_ROLLING), "The pace of a rolling update."),
    }
)

_MEASURES = {
    "metrics": explained(list_of(_METRIC), "The measures; the one that wants most pods counts."),
    "behavior": explained(PACES, "The pace."),
}

SCALING_FIELDS: dict[str, Schema] = {
    "minReplicas": explained(INT32, "The fewest pods; 1 if nothing is said, 0 lets it scale to zero."),
    "maxReplicas": explained(INT32, "The most pods; 0 is no limit."),
    "scaleTarget": explained(INT32, "How much of scaleMetric one pod should carry."),
    "scaleMetric": explained(one_of("cpu", "memory", "concurrency", "rps"), "What scaling goes by; concurrency if nothing is said."),
    "scaleMetricType": explained(_TARGET_TYPE, "How scaleTarget is meant: a share of what was asked for, a sum, or a mean of the pods."),
    "autoScaling": explained(an_object(_MEASURES), "Several measures, and the pace of scaling."),
    "deploymentStrategy": explained(_ROLL_OUT, "How old pods make way for new ones, where pods are those of a Deployment."),
}
"""What a component says of its number of pods."""
