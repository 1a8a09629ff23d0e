"""Logger, batcher and shadow, which stand beside a revision's pods: from a spec to annotations to the gateway's document. Pure.

A revision carries logger and batcher in KServe's annotations, so that an old revision keeps its own. In the original an agent in each pod
acts on them; here the gateway does. A shadow belongs to the service and makes no new revision. Source: specification 1.11, 6.8, 6.9.
"""

from __future__ import annotations

from collections.abc import Mapping

from flambeau.control.controllers.names import COMPONENT_LABEL, SERVICE_LABEL
from flambeau.control.resources.inference_service_aside import is_collector, shadow_wish
from flambeau.control.resources.kind import Object
from flambeau.gateway.document import Batcher, Destination, Logger, Shadow

INTERNAL_PREFIX = "internal.serving.kserve.io/"
"""Of annotations that controllers write."""
_LOGGER = f"{INTERNAL_PREFIX}logger"
_BATCHER = f"{INTERNAL_PREFIX}batcher"
_BATCHER_TIMEOUT = "flambeau.dev/batcher-timeout"
_SIZE_USUAL = 32
_SIZE_MAX = 100_000
_WAIT_MILLISECONDS_USUAL = 5000
_WAIT_MILLISECONDS_MAX = 600_000
_TIMEOUT_SECONDS_MAX = 600


def to_annotations(spec: Object) -> dict[str, str]:
    """Return the annotations of a component's revision.

    Args:
        spec: the component's.
    """
    found: dict[str, str] = {}
    logger, batcher = spec.get("logger"), spec.get("batcher")
    if logger is not None and logger.get("url"):
        found = {_LOGGER: "true", f"{_LOGGER}-sink-url": logger["url"], f"{_LOGGER}-mode": logger.get("mode") or "all"}
        for field, name in (("metadataHeaders", "metadata-headers"), ("metadataAnnotations", "metadata-annotations")):
            if logger.get(field):
                found[f"{_LOGGER}-{name}"] = ",".join(logger[field])
    if batcher is not None:
        found[_BATCHER] = "true"
        for field, name in (
            ("maxBatchSize", f"{_BATCHER}-max-batchsize"),
            ("maxLatency", f"{_BATCHER}-max-latency"),
            ("timeout", _BATCHER_TIMEOUT),
        ):
            if batcher.get(field):
                found[name] = str(batcher[field])
    return found


def logger_of(revision: Object) -> Logger | None:
    """Return where copies of a revision's requests go, if anywhere."""
    metadata = revision["metadata"]
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    if annotations.get(_LOGGER) != "true" or not is_collector(annotations.get(f"{_LOGGER}-sink-url", "")):
        return None
    mode = annotations.get(f"{_LOGGER}-mode", "all")
    wanted = _names(annotations, f"{_LOGGER}-metadata-annotations")
    return Logger(
        annotations[f"{_LOGGER}-sink-url"],
        requests=mode in ("all", "request"),
        responses=mode in ("all", "response"),
        headers=tuple(name.lower() for name in _names(annotations, f"{_LOGGER}-metadata-headers")),
        annotations=tuple((name, annotations[name]) for name in wanted if name in annotations),
        service=labels.get(SERVICE_LABEL, ""),
        namespace=metadata["namespace"],
        component=labels.get(COMPONENT_LABEL, ""),
    )


def batcher_of(revision: Object) -> Batcher | None:
    """Return how a revision's requests are put together, if they are."""
    annotations = revision["metadata"].get("annotations") or {}
    if annotations.get(_BATCHER) != "true":
        return None
    return Batcher(
        size_max=_number(annotations.get(f"{_BATCHER}-max-batchsize"), _SIZE_USUAL, 1, _SIZE_MAX),
        wait_seconds=_number(annotations.get(f"{_BATCHER}-max-latency"), _WAIT_MILLISECONDS_USUAL, 0, _WAIT_MILLISECONDS_MAX) / 1000,
        timeout_seconds=float(_number(annotations.get(_BATCHER_TIMEOUT), 0, 0, _TIMEOUT_SECONDS_MAX)),
    )


def _number(text: str | None, usual: int, least: int, most: int) -> int:
    """Return a number of an annotation; what can't be read counts as not said, since one document holds everybody's routes."""
    try:
        return min(max(int(text or usual), least), most)
    except ValueError:
        return usual


def shadow_of(service: Object, by_host: Mapping[str, tuple[Destination, ...]]) -> tuple[Shadow | None, str]:
    """Return who gets copies of a service's requests, and what is wrong with the wish.

    Args:
        service: the InferenceService.
        by_host: where names lead.
    """
    wish = shadow_wish(service)
    if wish is None:
        return None, ""
    name, percent = wish
    found = by_host.get(f"{name}.{service['metadata']['namespace']}", ())
    backends = tuple(each.backend for each in found if each.backend is not None)
    if not backends:
        return None, f'shadow "{name}": there is no InferenceService and no revision with pods of that name in the namespace'
    return Shadow(name, backends, percent), ""


def _names(annotations: Mapping[str, str], name: str) -> list[str]:
    return [each.strip() for each in annotations.get(name, "").split(",") if each.strip()]
