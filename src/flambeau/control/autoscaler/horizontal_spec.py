"""HorizontalPodAutoscaler objects: made from an InferenceService, read as settings, told how they stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.control.autoscaler.horizontal import DOWN, UP, Decision, Measured, Metric, Pace, Policy, Settings
from flambeau.control.resources.conditions import set_condition
from flambeau.control.resources.horizontal_pod_autoscaler import CPU_PERCENT, HORIZONTAL_POD_AUTOSCALER
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mappings_at
from flambeau.control.resources.owners import controlled_by
from flambeau.control.resources.quantity import amount, milli
from flambeau.control.resources.revision import deployment_of, is_standard

TARGET_PERCENT_ANNOTATION = "serving.kserve.io/targetUtilizationPercentage"
METRIC_ANNOTATION = "serving.kserve.io/metrics"


def autoscaler_for(service: Object, part: Mapping[str, Any], revision: Object) -> Object:
    """Return the HPA of a revision whose InferenceService is scaled by one; in mode Standard it is its component's.

    Args:
        service: the InferenceService.
        part: its component's spec.
        revision: whose Deployment is scaled.
    """
    metadata = revision["metadata"]
    metrics = _metrics(service, part)
    said = part.get("minReplicas")
    least = 1 if said is None else int(said)
    if not any(each["type"] == "External" for each in metrics):
        least = max(1, least)  # what pods use can't be told of none
    spec: Object = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment_of(revision)},
        "minReplicas": least,
        "maxReplicas": max(1, least, int(part.get("maxReplicas") or 0)),
        "metrics": metrics,
    }
    behavior = find(dict(part), "autoScaling", "behavior")
    if behavior:
        spec["behavior"] = behavior
    return {
        "apiVersion": HORIZONTAL_POD_AUTOSCALER.api_version,
        "kind": HORIZONTAL_POD_AUTOSCALER.kind,
        "metadata": {
            "name": autoscaler_name(revision),
            "namespace": metadata["namespace"],
            "labels": dict(metadata.get("labels") or {}),
            "ownerReferences": [controlled_by(service if is_standard(revision) else revision)],
        },
        "spec": spec,
    }


def autoscaler_name(revision: Object) -> str:
    """Return the name of a revision's HPA."""
    return deployment_of(revision) if is_standard(revision) else str(revision["metadata"]["name"])


def _metrics(service: Object, part: Mapping[str, Any]) -> list[Object]:
    triggers = external_triggers(part)
    listed: list[Object] = [
        {"type": "Resource", "resource": each["resource"]}
        for each in mappings_at(dict(part), "autoScaling", "metrics")
        if each.get("type") == "Resource" and each.get("resource")
    ]
    listed += [_external(name, trigger) for name, trigger in triggers.items()]
    if listed:
        return listed
    annotations = find(service, "metadata", "annotations") or {}
    name = part.get("scaleMetric") or annotations.get(METRIC_ANNOTATION) or "cpu"
    said = part.get("scaleTarget") or annotations.get(TARGET_PERCENT_ANNOTATION)
    if part.get("scaleMetricType") == "AverageValue" or (name == "memory" and said is not None and not part.get("scaleMetricType")):
        value = f"{said}Mi" if name == "memory" else str(said)
        return [{"type": "Resource", "resource": {"name": name, "target": {"type": "AverageValue", "averageValue": value}}}]
    percent = int(amount(said) or CPU_PERCENT)
    return [{"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}}}]


def external_triggers(part: Mapping[str, Any]) -> dict[str, Object]:
    """Return what a component is scaled by from elsewhere, under the names that keda gives to triggers, ``s0-prometheus``."""
    listed = enumerate(mappings_at(dict(part), "autoScaling", "metrics"))
    return {f"s{index}-prometheus": each["external"] for index, each in listed if each.get("type") == "External" and each.get("external")}


def _external(name: str, trigger: Mapping[str, Any]) -> Object:
    whole = find(trigger, "target", "type") == "Value"
    target = {"type": "Value" if whole else "AverageValue", "value" if whole else "averageValue": find(trigger, "target", "value")}
    return {"type": "External", "external": {"metric": {"name": name}, "target": target}}


def settings_of(autoscaler: Object) -> Settings:
    """Return what an HPA's spec says."""
    spec = autoscaler["spec"]
    said = spec.get("minReplicas")
    least = 1 if said is None else int(said)
    return Settings(
        least,
        max(1, least, int(spec["maxReplicas"])),
        tuple(_metric(each) for each in mappings_at(spec, "metrics") if each.get("resource") or each.get("external")),
        _pace(find(spec, "behavior", "scaleUp") or {}, UP),
        _pace(find(spec, "behavior", "scaleDown") or {}, DOWN),
    )


def _metric(entry: Mapping[str, Any]) -> Metric:
    if external := entry.get("external"):
        whole = external["target"].get("value")
        wanted = amount(external["target"].get("averageValue") if whole is None else whole) or 0.0
        return Metric(external["metric"]["name"], None, wanted, "each" if whole is None else "all")
    resource = entry["resource"]
    target = resource["target"]
    percent = target.get("averageUtilization")
    if percent is not None:
        return Metric(resource["name"], float(percent))
    return Metric(resource["name"], None, amount(target.get("averageValue") or target.get("value")) or 0.0)


def _pace(said: Mapping[str, Any], otherwise: Pace) -> Pace:
    window = said.get("stabilizationWindowSeconds")
    policies = tuple(Policy(each["type"], int(each["value"]), float(each["periodSeconds"])) for each in said.get("policies") or ())
    select = said.get("selectPolicy") or otherwise.select
    return Pace(otherwise.window_seconds if window is None else float(window), policies or otherwise.policies, select)


def status_of(
    autoscaler: Object, current: int, decision: Decision, measured: Mapping[str, Measured | str], now: float, *, rescaled: str | None
) -> Object:
    """Return an HPA's whole new status.

    Args:
        autoscaler: as it is; conditions keep their transition times.
        current: replicas there were to be.
        decision: about them.
        measured: by metric; a text is why one could not be measured.
        now: seconds since the epoch.
        rescaled: when the number was changed last, as a timestamp; None: never.
    """
    conditions = [dict(each) for each in mappings_at(autoscaler, "status", "conditions")]
    if decision.stabilized:
        set_condition(conditions, "AbleToScale", "True", "ScaleDownStabilized", "recent wishes were higher than this one", now)
    elif decision.wish != current:
        set_condition(conditions, "AbleToScale", "True", "SucceededRescale", f"the new number is {decision.wish}", now)
    else:
        set_condition(conditions, "AbleToScale", "True", "ReadyForNewScale", "the number is as it should be", now)
    if decision.failure:
        set_condition(conditions, "ScalingActive", "False", failure_reason(decision, measured), decision.failure, now)
    else:
        set_condition(conditions, "ScalingActive", "True", "ValidMetricFound", "replicas follow what is measured", now)
    if decision.limited:
        set_condition(conditions, "ScalingLimited", "True", decision.limited, f"the number is bounded to {decision.wish}", now)
    else:
        set_condition(conditions, "ScalingLimited", "False", "DesiredWithinRange", "the wish is within the bounds", now)
    status: Object = {
        "observedGeneration": autoscaler["metadata"].get("generation", 1),
        "currentReplicas": current,
        "desiredReplicas": decision.wish,
        "currentMetrics": [_current(name, found) for name, found in sorted(measured.items()) if isinstance(found, Measured)],
        "conditions": conditions,
    }
    return status | ({"lastScaleTime": rescaled} if rescaled else {})


def failure_reason(decision: Decision, measured: Mapping[str, Measured | str]) -> str:
    """Return in a word which kind of metric could not be told."""
    return "FailedGetExternalMetric" if decision.failure in measured.values() else "FailedGetResourceMetric"


def _current(name: str, measured: Measured) -> Object:
    if name not in ("cpu", "memory"):
        return {"type": "External", "external": {"metric": {"name": name}, "current": {"value": milli(measured.value)}}}
    current: Object = {"averageValue": milli(measured.value) if name == "cpu" else f"{round(measured.value / 1024)}Ki"}
    if measured.requested:
        current["averageUtilization"] = round(100.0 * measured.value / measured.requested)
    return {"type": "Resource", "resource": {"name": name, "current": current}}
