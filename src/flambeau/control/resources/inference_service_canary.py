"""What is wrong with ``spec.canary``: other predictors beside the stable one, each with a share of the requests. Pure.

Source: specification 1.9.
"""

from __future__ import annotations

from collections.abc import Iterator

from flambeau.control.resources.fields.inference import FRAMEWORKS
from flambeau.control.resources.kind import Finding, Object
from flambeau.control.resources.lookup import find, mappings_at

_OF_THE_STABLE_ALONE = ("workerSpec", "maxReplicas", "scaleTarget", "scaleMetric", "autoScaling")


def check_canaries(spec: Object, mode: str) -> Iterator[Finding]:
    """Yield what is wrong with an InferenceService's canaries.

    Args:
        spec: the InferenceService's.
        mode: its deployment mode.
    """
    entries = mappings_at(spec, "canary")
    if not entries:
        return
    if mode != "Standard":
        message = "is for deployment mode Standard: set the annotation serving.kserve.io/deploymentMode, or use canaryTrafficPercent"
        yield Finding("spec.canary", message, reason="FieldValueForbidden")
    stable = find(spec, "predictor") or {}
    if not any(stable.get(name) for name in ("model", *FRAMEWORKS)):
        yield Finding("spec.predictor.model", "is required with spec.canary", reason="FieldValueRequired")
    names = [stable.get("name")]
    for index, entry in enumerate(entries):
        path = f"spec.canary[{index}].predictor"
        predictor = find(entry, "predictor") or {}
        yield from _check_name(predictor, names, path)
        names.append(predictor.get("name"))
        used = [name for name in ("model", *FRAMEWORKS, "containers") if predictor.get(name)]
        if len(used) > 1:
            yield Finding(path, f"must have at most one of model or containers: it has {' and '.join(used)}")
        for field in _OF_THE_STABLE_ALONE:
            if predictor.get(field) is not None:
                yield Finding(f"{path}.{field}", "belongs to the stable predictor alone", reason="FieldValueForbidden")
        least = predictor.get("minReplicas")
        most = stable.get("minReplicas", 1)
        if isinstance(least, int) and isinstance(most, int) and least > most:
            yield Finding(f"{path}.minReplicas", f"must not be over the stable predictor's, which is {most}", least)
    percents = [entry.get("trafficPercent") for entry in entries]
    total = sum(percent for percent in percents if isinstance(percent, int))
    if total > 100:
        yield Finding("spec.canary", f"the trafficPercents sum to {total}, at most 100", total)


def _check_name(predictor: Object, known: list[object], path: str) -> Iterator[Finding]:
    name = predictor.get("name")
    if not name:
        yield Finding(f"{path}.name", "is required: it tells a canary from the others", reason="FieldValueRequired")
    elif name in known:
        yield Finding(f"{path}.name", "must differ from the names of the stable predictor and of other canaries", name)
