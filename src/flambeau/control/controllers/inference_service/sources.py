"""What a part's pods fetch before they start, and where it goes. Pure.

The storage-initializer's arguments are pairs of URI and place; its volume is mounted where all places have their common parent.
Source: specification 3.1 and 2.4 (STORAGE_URI).
"""

from __future__ import annotations

import json
import os.path

from flambeau.control.controllers.inference_service.parts import Part
from flambeau.control.controllers.merge import merge_list
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import mappings_at
from flambeau.control.resources.pod_contract import FETCHER_ANNOTATION, INITIALIZER_CONTAINER, MODEL_VOLUME, MODELS_PATH
from flambeau.storage.identity import SPEC_KEY_ANNOTATION, SPEC_PARAMETERS_ANNOTATION
from flambeau.storage.storage_spec import PLACEHOLDER_SCHEME

READ_ONLY_ANNOTATION = "storage.kserve.io/readonly"


def take_sources(part: Part, server: Object) -> list[tuple[str, str]]:
    """Return (URI, place) of everything to fetch.

    A custom container asks for a model by its variable STORAGE_URI, which then names the place.
    """
    several = [(str(entry["uri"]), str(entry.get("mountPath") or MODELS_PATH)) for entry in mappings_at(part.spec, "storageUris")]
    if several:
        return several
    model = part.spec.get("model") or part.spec.get("art")
    if model is not None:
        if model.get("storage"):
            return [(f"{PLACEHOLDER_SCHEME}{model['storage'].get('path') or ''}", MODELS_PATH)]
        return [(str(model["storageUri"]), MODELS_PATH)] if model.get("storageUri") else []
    for variable in server.get("env") or ():
        if variable["name"] == "STORAGE_URI" and variable.get("value"):
            uri = str(variable["value"])
            variable["value"] = MODELS_PATH
            return [(uri, MODELS_PATH)]
    return []


def source_annotations(part: Part) -> dict[str, str]:
    """Return the annotations by which a pod's initializer is told how to fetch: by which key of the storage-config Secret, or by whom."""
    storage = (part.spec.get("model") or part.spec.get("art") or {}).get("storage") or {}
    told = {
        SPEC_KEY_ANNOTATION: storage.get("key"),
        SPEC_PARAMETERS_ANNOTATION: json.dumps(storage["parameters"], sort_keys=True) if storage.get("parameters") else None,
        FETCHER_ANNOTATION: part.spec.get("storageContainerName"),
    }
    return {name: str(value) for name, value in told.items() if value}


def add_initializer(pod: Object, containers: list[Object], sources: list[tuple[str, str]], *, read_only: bool) -> None:
    """Let a pod fetch first, in place; the containers given see what was fetched."""
    place = os.path.commonpath([os.path.normpath(target) for _, target in sources])
    mount = {"name": MODEL_VOLUME, "mountPath": place}
    merge_list(pod.setdefault("volumes", []), [{"name": MODEL_VOLUME, "emptyDir": {}}], "name")
    for container in containers:
        merge_list(container.setdefault("volumeMounts", []), [{**mount, "readOnly": read_only}], "mountPath")
    words = [word for uri, target in sources for word in (uri, target)]
    pod["initContainers"] = [
        {"name": INITIALIZER_CONTAINER, "image": "flambeau/storage-initializer", "args": words, "volumeMounts": [mount]}
    ]
