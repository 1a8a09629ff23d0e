"""How the TrainedModels' controller and the agent understand each other: what is to be loaded, and what is. Pure.

The controller writes KServe's ConfigMap ``modelconfig-<service>-0``; the agent loads what it lists into each pod of the service and notes
in an annotation of the pod what came of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mappings_at

LOADED_ANNOTATION = "flambeau.dev/trained-models"
CONFIG_KEY = "models.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What becomes a file's name: ConfigMaps and annotations may be written by anybody who may write at all."""
_PREFIX, _SUFFIX = "modelconfig-", "-0"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that the pods of a service are to have."""

    name: str
    uri: str
    framework: str
    memory: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a model in a pod."""

    uri: str
    run: int
    """Restarts of the pod's server when it was loaded: a server that starts anew has it no more."""
    error: str = ""
    """Why it could not be loaded; empty when it is."""


def config_name(service: str) -> str:
    """Return the name of a service's ConfigMap."""
    return f"{_PREFIX}{service}{_SUFFIX}"


def service_of_config(name: str) -> str:
    """Return the service that a ConfigMap is about; empty for another ConfigMap."""
    return name.removeprefix(_PREFIX).removesuffix(_SUFFIX) if name.startswith(_PREFIX) and name.endswith(_SUFFIX) else ""


def config_data(models: Iterable[Wanted]) -> Object:
    """Return the ConfigMap's data."""
    listed = [
        {"modelName": each.name, "modelSpec": {"storageUri": each.uri, "framework": each.framework, "memory": each.memory}}
        for each in sorted(models, key=lambda each: each.name)
    ]
    return {CONFIG_KEY: orjson.dumps(listed).decode()}


def wanted_of(config: Object | None) -> dict[str, Wanted]:
    """Return the models that a ConfigMap lists, by name; none where it can't be read."""
    try:
        entries = orjson.loads(find(config or {}, "data", CONFIG_KEY) or b"[]")
    except orjson.JSONDecodeError:
        return {}
    named = (
        [entry for entry in entries if isinstance(entry, dict) and _is_name(entry.get("modelName"))] if isinstance(entries, list) else []
    )
    specs = ((str(entry["modelName"]), entry["modelSpec"]) for entry in named if isinstance(entry.get("modelSpec"), dict))
    return {
        name: Wanted(name, str(spec.get("storageUri") or ""), str(spec.get("framework") or ""), str(spec.get("memory") or ""))
        for name, spec in specs
    }


def loaded_of(pod: Mapping[str, Any]) -> dict[str, Loaded]:
    """Return what was noted about the models in a pod, by name."""
    text = find(pod, "metadata", "annotations", LOADED_ANNOTATION)
    try:
        return {str(name): Loaded(**fields) for name, fields in orjson.loads(text or b"{}").items() if _is_name(name)}
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return {}


def loaded_text(models: Mapping[str, Loaded]) -> str:
    """Return the annotation's text."""
    return orjson.dumps({name: asdict(model) for name, model in sorted(models.items())}).decode()


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def run_of(pod: Mapping[str, Any]) -> int:
    """Return how often the pod's containers were started anew."""
    return sum(int(status.get("restartCount") or 0) for status in mappings_at(pod, "status", "containerStatuses"))


def to_load(pod: Mapping[str, Any], config: Object | None) -> list[Wanted]:
    """Return the models that a pod is to have and has not, those that failed among them."""
    loaded, run = loaded_of(pod), run_of(pod)
    return [each for name, each in wanted_of(config).items() if loaded.get(name) != Loaded(each.uri, run)]


def to_unload(pod: Mapping[str, Any], config: Object | None) -> list[str]:
    """Return the models that a pod has, or has the files of, and is not to have: gone, or of another place."""
    wanted = wanted_of(config)
    return [name for name, each in loaded_of(pod).items() if name not in wanted or wanted[name].uri != each.uri]
