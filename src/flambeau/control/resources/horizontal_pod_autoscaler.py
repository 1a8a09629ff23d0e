"""HorizontalPodAutoscaler: replicas by what pods use of cpu and memory, and what keda's triggers say."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.scaling import PACES, RESOURCE_METRIC
from flambeau.control.resources.fields.words import ANYTHING, INT32, STRING, an_object, fields, one_of, whole_list_of
from flambeau.control.resources.kind import Column, Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find, mapping_at, mappings_at
from flambeau.control.resources.object_schema import object_schema

CPU_PERCENT = 80
"""The target where none is said, as in Kubernetes."""

_OLD_TARGET = "targetCPUUtilizationPercentage"
"""Version v1's only target."""

_METRIC = an_object({"type": one_of("Resource", "ContainerResource", "Pods", "Object", "External"), "resource": RESOURCE_METRIC}, ("type",))
_TARGET = an_object(fields("apiVersion", "kind", "name", of=STRING), ("kind", "name"))
_SPEC = an_object(
    {
        "scaleTargetRef": _TARGET,
        **fields("minReplicas", "maxReplicas", of=INT32),
        "metrics": whole_list_of(_METRIC),
        "behavior": PACES,
        _OLD_TARGET: INT32,
    },
    ("maxReplicas", "scaleTargetRef"),
)


def _default(obj: Object) -> None:
    spec = find(obj, "spec")
    if isinstance(spec, dict):
        spec.setdefault("minReplicas", 1)
        percent = spec.pop(_OLD_TARGET, None)
        if percent is not None or not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": CPU_PERCENT if percent is None else percent}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _shown(obj: Object, version: str) -> Object:
    """Return an autoscaler as v1 shows it: with a target for the cpu's utilization and no other."""
    if version != "v1":
        return obj
    spec = {name: value for name, value in obj["spec"].items() if name not in ("metrics", "behavior")}
    status = {name: value for name, value in (obj.get("status") or {}).items() if name not in ("currentMetrics", "conditions")}
    targets, current = mappings_at(obj, "spec", "metrics"), mappings_at(obj, "status", "currentMetrics")
    old = ((spec, targets, _OLD_TARGET, "target"), (status, current, "currentCPUUtilizationPercentage", "current"))
    for part, metrics, name, field in old:
        for metric in metrics:
            percent = find(metric, "resource", field, "averageUtilization")
            if find(metric, "resource", "name") == "cpu" and percent is not None:
                part[name] = percent
    return {**obj, "spec": spec, "status": status}


def _check(obj: Object, _: Object | None) -> Review:
    low, high = find(obj, "spec", "minReplicas"), find(obj, "spec", "maxReplicas")
    errors = []
    if isinstance(low, int) and low < 1:
        errors.append(Finding("spec.minReplicas", "must be at least 1", low))
    if isinstance(low, int) and isinstance(high, int) and high < max(low, 1):
        errors.append(Finding("spec.maxReplicas", f"must be at least minReplicas, which is {low}", high))
    if find(obj, "spec", "scaleTargetRef", "kind") not in (None, "Deployment"):
        kind = find(obj, "spec", "scaleTargetRef", "kind")
        message = "must be Deployment: <revision>-deployment, or in mode Standard <isvc>-predictor"
        errors.append(Finding("spec.scaleTargetRef.kind", message, kind, "FieldValueNotSupported"))
    for index, metric in enumerate(mappings_at(obj, "spec", "metrics")):
        if metric.get("type") != "Resource":
            place = f"spec.metrics[{index}].type"
            errors.append(Finding(place, "must be Resource on one machine: cpu or memory", metric.get("type"), "FieldValueNotSupported"))
        elif find(metric, "resource", "name") is None:
            errors.append(Finding(f"spec.metrics[{index}].resource.name", "is required", reason="FieldValueRequired"))
    return Review(tuple(errors))


def _reference(obj: Object, _: float) -> str:
    return f"{find(obj, 'spec', 'scaleTargetRef', 'kind')}/{find(obj, 'spec', 'scaleTargetRef', 'name')}"


def _targets(obj: Object, _: float) -> str:
    """Return ``cpu: 45%/80%`` for each metric."""
    listed = mappings_at(obj, "status", "currentMetrics")
    current = {_measure(each)[0]: _measure(each)[1].get("current") or {} for each in listed}
    told = []
    for metric in mappings_at(obj, "spec", "metrics"):
        name, measure = _measure(metric)
        target = measure.get("target") or {}
        now = current.get(name) or {}
        if target.get("averageUtilization") is not None:
            found = now.get("averageUtilization")
            told.append(f"{name}: {'<unknown>' if found is None else f'{found}%'}/{target['averageUtilization']}%")
        else:
            found = now.get("averageValue") or now.get("value") or "<unknown>"
            told.append(f"{name}: {found}/{target.get('averageValue') or target.get('value')}")
    return ", ".join(told) or "<none>"


def _measure(entry: Object) -> tuple[str, Object]:
    """Return what a metric is called, and its part that says more."""
    external = mapping_at(entry, "external")
    return (find(external, "metric", "name"), external) if external else (find(entry, "resource", "name"), mapping_at(entry, "resource"))


HORIZONTAL_POD_AUTOSCALER = Kind(
    group="autoscaling",
    versions=("v2", "v1"),
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    singular="horizontalpodautoscaler",
    short_names=("hpa",),
    categories=("all",),
    columns=(
        Column("Reference", _reference),
        Column("Targets", _targets),
        Column("MinPods", lambda obj, _: str(find(obj, "spec", "minReplicas"))),
        Column("MaxPods", lambda obj, _: find(obj, "spec", "maxReplicas"), type="integer"),
        Column("Replicas", lambda obj, _: int(find(obj, "status", "currentReplicas") or 0), type="integer"),
        AGE_COLUMN,
    ),
    schema=object_schema({"spec": _SPEC, "status": ANYTHING}, required=("spec",)),
    default=_default,
    check=_check,
    shown=_shown,
)
