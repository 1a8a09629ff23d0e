"""What is wrong with an InferenceService's replicas and autoscaling. Pure; part of ``inference_service_check``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flambeau.control.resources.kind import Finding, Object
from flambeau.control.resources.lookup import find, mapping_at, mappings_at
from flambeau.control.resources.quantity import amount

AUTOSCALER_CLASS_ANNOTATION = "serving.kserve.io/autoscalerClass"
_AUTOSCALER_CLASSES = ("hpa", "external", "keda", "none")
KNATIVE_CLASS_ANNOTATION = "autoscaling.knative.dev/class"
KNATIVE_HPA_CLASS = "hpa.autoscaling.knative.dev"
_MEBIBYTE_OR_MORE = re.compile(r"[1-9]\d*(\.\d+)?(Mi|Gi|Ti|Pi|Ei|M|G|T|P|E)")


def check_replicas(part: Object, path: str) -> Iterator[Finding]:
    """Yield what is wrong with the numbers of pods and requests."""
    low, high = part.get("minReplicas"), part.get("maxReplicas")
    for field in ("minReplicas", "maxReplicas", "containerConcurrency"):
        value = part.get(field)
        if isinstance(value, int) and value < 0:
            yield Finding(f"{path}.{field}", "must not be negative", value)
    if isinstance(low, int) and isinstance(high, int) and low > high > 0:
        yield Finding(f"{path}.maxReplicas", f"must not be less than minReplicas, which is {low} (0 means no limit)", high)


def check_scaling(obj: Object, part: Object, path: str, mode: str) -> Iterator[Finding]:
    """Yield what is wrong with how the number of pods is to follow the load."""
    annotations = mapping_at(obj, "metadata", "annotations")
    autoscaler = annotations.get(AUTOSCALER_CLASS_ANNOTATION)
    if autoscaler is not None and autoscaler not in _AUTOSCALER_CLASSES:
        place = f"metadata.annotations[{AUTOSCALER_CLASS_ANNOTATION}]"
        yield Finding(place, f"must be one of {', '.join(_AUTOSCALER_CLASSES)}", autoscaler, "FieldValueNotSupported")
        return
    if mode == "Knative":
        if part.get("deploymentStrategy"):
            message = "is for deployment mode Standard only: remove it"
            yield Finding(f"{path}.deploymentStrategy", message, reason="FieldValueForbidden")
        if annotations.get(KNATIVE_CLASS_ANNOTATION) == KNATIVE_HPA_CLASS:
            yield from _check_hpa(part, path)
        else:
            yield from _check_kpa(part, path)
    elif autoscaler == "keda":
        yield from _check_keda(part, path)
    elif autoscaler in (None, "hpa"):
        yield from _check_hpa(part, path)


def scaling_warnings(obj: Object, part: Object, path: str, mode: str) -> Iterator[str]:
    """Yield what of the autoscaling has no effect here."""
    if mode != "Standard":
        return
    by_keda = mapping_at(obj, "metadata", "annotations").get(AUTOSCALER_CLASS_ANNOTATION) == "keda"
    triggered = any(entry.get("type") == "External" for entry in mappings_at(part, "autoScaling", "metrics"))
    if by_keda and part.get("minReplicas") == 0 and not triggered:
        yield f"{path}.minReplicas: 1 pod stays: no cpu and memory is used by none; a metric of type External scales to zero"


def _check_kpa(part: Object, path: str) -> Iterator[Finding]:
    metric, target = part.get("scaleMetric"), part.get("scaleTarget")
    if metric in ("cpu", "memory"):
        message = "must be concurrency or rps in deployment mode Knative"
        yield Finding(f"{path}.scaleMetric", message, metric, "FieldValueNotSupported")
    if isinstance(target, int) and target < (1 if metric == "rps" else 0):
        yield Finding(f"{path}.scaleTarget", "must be at least 1" if metric == "rps" else "must not be negative", target)


def _check_hpa(part: Object, path: str) -> Iterator[Finding]:
    metric, target = part.get("scaleMetric"), part.get("scaleTarget")
    if metric in ("concurrency", "rps"):
        yield Finding(f"{path}.scaleMetric", "must be cpu or memory with this autoscaler", metric, "FieldValueNotSupported")
    if isinstance(target, int) and metric in (None, "cpu") and not 1 <= target <= 100:
        yield Finding(f"{path}.scaleTarget", "must be from 1 to 100 percent of the cpu", target)
    for index, entry in enumerate(mappings_at(part, "autoScaling", "metrics")):
        if entry.get("type") not in (None, "Resource"):
            place = f"{path}.autoScaling.metrics[{index}].type"
            yield Finding(place, "must be Resource with this autoscaler", entry["type"], "FieldValueNotSupported")


def _check_keda(part: Object, path: str) -> Iterator[Finding]:
    if part.get("scaleMetric"):
        message = "is not used with keda: write autoScaling.metrics"
        yield Finding(f"{path}.scaleMetric", message, part["scaleMetric"], "FieldValueForbidden")
    for index, entry in enumerate(mappings_at(part, "autoScaling", "metrics")):
        place = f"{path}.autoScaling.metrics[{index}]"
        if entry.get("type") == "Resource":
            yield from _check_keda_resource(entry, f"{place}.resource")
        elif entry.get("type") == "External":
            yield from _check_keda_trigger(entry, f"{place}.external")
        elif entry.get("type") == "PodMetric":
            message = "is not asked here: let Prometheus collect the numbers, and use type External with its serverAddress and query"
            yield Finding(f"{place}.type", message, "PodMetric", "FieldValueNotSupported")


def _check_keda_trigger(entry: Object, path: str) -> Iterator[Finding]:
    backend = find(entry, "external", "metric", "backend")
    if backend not in (None, "prometheus"):
        yield Finding(f"{path}.metric.backend", "must be prometheus: no other is asked here", backend, "FieldValueNotSupported")
    for field in ("query", "serverAddress"):
        if not find(entry, "external", "metric", field):
            yield Finding(f"{path}.metric.{field}", "is required", reason="FieldValueRequired")
    value = find(entry, "external", "target", "value")
    if value is None:
        yield Finding(f"{path}.target.value", "is required", reason="FieldValueRequired")
    elif not (amount(value) or 0.0) > 0:
        yield Finding(f"{path}.target.value", "must be a quantity above 0: how much one pod takes", value)


def _check_keda_resource(entry: Object, path: str) -> Iterator[Finding]:
    name, kind = find(entry, "resource", "name"), find(entry, "resource", "target", "type")
    if name == "cpu" and kind not in (None, "Utilization"):
        yield Finding(f"{path}.target.type", "must be Utilization for cpu", kind, "FieldValueNotSupported")
    if name == "memory" and kind == "AverageValue":
        value = find(entry, "resource", "target", "averageValue")
        if not isinstance(value, str) or not _MEBIBYTE_OR_MORE.fullmatch(value):
            yield Finding(f"{path}.target.averageValue", "must be at least 1Mi", value)
    elif name == "memory" and kind not in (None, "Utilization"):
        yield Finding(f"{path}.target.type", "must be AverageValue or Utilization for memory", kind, "FieldValueNotSupported")
