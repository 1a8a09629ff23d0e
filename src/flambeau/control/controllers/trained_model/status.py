"""A TrainedModel's ``status``: what speaks against it, and whether the pods have it. Pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from flambeau.control.controllers.hosts import Site, internal_url
from flambeau.control.controllers.trained_model.desired import FINE, Judged, Verdict
from flambeau.control.resources.conditions import get_condition, set_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import mapping_at, mappings_at
from flambeau.control.resources.trained_models import Loaded, loaded_of, run_of


def model_status(judged: Judged, pods: Sequence[Object], site: Site, now: float) -> Object:
    """Return the whole new status.

    Args:
        judged: the TrainedModel.
        pods: of the revisions that its InferenceService's requests go to, without those that are going.
        site: for the URL.
        now: seconds since the epoch.
    """
    metadata, spec = judged.model["metadata"], mapping_at(judged.model, "spec")
    conditions = copy.deepcopy(mappings_at(judged.model, "status", "conditions"))
    for type, verdict in (
        ("FrameworkSupported", judged.framework),
        ("InferenceServiceReady", judged.service),
        ("IsMMSPredictor", judged.server),
        ("MemoryResourceAvailable", judged.memory),
    ):
        set_condition(conditions, type, "True" if verdict == FINE else "False", *verdict, now)
    status, reason, message = _ready(judged, pods)
    set_condition(conditions, "Ready", status, reason, message, now)
    told: Object = {"observedGeneration": metadata.get("generation", 1), "conditions": conditions}
    if status == "True" or "url" in mapping_at(judged.model, "status"):
        service, namespace, path = str(spec["inferenceService"]), metadata["namespace"], f"/v1/models/{metadata['name']}:predict"
        told |= {"url": site.entry_url(service, namespace) + path, "address": {"url": internal_url(service, namespace) + path}}
    return told


def _ready(judged: Judged, pods: Sequence[Object]) -> tuple[str, str, str]:
    verdicts: tuple[Verdict, ...] = (judged.service, judged.server, judged.framework, judged.memory)
    bad = next((verdict for verdict in verdicts if verdict != FINE), None)
    if bad is not None:
        return "False", *bad
    name, uri = judged.model["metadata"]["name"], str(judged.model["spec"]["model"]["storageUri"])
    ready = [pod for pod in pods if (get_condition(pod, "Ready") or {}).get("status") == "True"]
    told = [(pod, loaded_of(pod).get(name)) for pod in ready]
    failed = next((each for _, each in told if each is not None and each.uri == uri and each.error), None)
    if failed is not None:
        return "False", "ModelLoadFailed", failed.error
    have = sum(each == Loaded(uri, run_of(pod)) for pod, each in told)
    if have < len(ready):
        return "Unknown", "ModelLoading", f"{have} of {len(ready)} pods have loaded it"
    if not ready and (get_condition(judged.model, "Ready") or {}).get("status") != "True":
        return "Unknown", "NoReadyPods", "no pod of the InferenceService runs now; the next one that starts loads it"
    return "True", "", ""
