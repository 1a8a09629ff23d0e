"""What a transformer or explainer is told on its command line: which model, where its predictor is, where to listen. Pure.

Source: specification 7.1 and 7.2. A flag that the container has already stays as its author wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator

from flambeau.control.controllers.hosts import component_name
from flambeau.control.controllers.inference_service.parts import PREDICTOR, Part
from flambeau.control.resources.kind import Object
from flambeau.control.resources.pod_contract import MODELS_PATH
from flambeau.control.resources.pod_ports import http_port


def add_arguments(service: Object, part: Part, server: Object) -> None:
    """Append the flags that a component's server expects, in place."""
    words = [*(server.get("command") or ()), *(server.get("args") or ())]
    present = {str(word).partition("=")[0] for word in words if str(word).startswith("--")}
    missing = [word for name, value in _flags(service, part, server) if name not in present for word in (name, value)]
    server["args"] = [*(server.get("args") or ()), *missing]


def _flags(service: Object, part: Part, server: Object) -> Iterator[tuple[str, str]]:
    metadata = service["metadata"]
    yield "--model_name", metadata["name"]
    yield "--predictor_host", f"{component_name(metadata['name'], PREDICTOR)}.{metadata['namespace']}"
    yield "--http_port", str(http_port(server))
    if part.spec.get("containerConcurrency"):
        yield "--workers", str(part.spec["containerConcurrency"])
    art = part.spec.get("art")
    if art is None:
        return
    if art.get("storageUri"):
        yield "--storage_uri", MODELS_PATH
    if art.get("type"):
        yield "--adversary_type", str(art["type"])
    for name, value in sorted((art.get("config") or {}).items()):
        yield f"--{name}", str(value)
