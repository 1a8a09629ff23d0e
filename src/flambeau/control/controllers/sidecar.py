"""Logger, batcher and shadow, which stand beside a revision's pods: from a spec to annotations to the gateway's document. Pure.

A revision carries logger and batcher in KServe's annotations, so that an old revision keeps its own. In the original an agent in each pod
acts on them; here the gateway does. A shadow belongs to the service and makes no new revision. Source: specification 1.11, 6.8, 6.9.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from flambeau.control.controllers.names import COMPONENT_LABEL, SERVICE_LABEL
from flambeau.control.resources.durations import duration_seconds
from flambeau.control.resources.inference_service_aside import is_collector, is_file_store, shadow_wish
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mapping_at
from flambeau.gateway.document import Batcher, Destination, FileFormat, Logger, LogStore, Shadow

INTERNAL_PREFIX = "internal.serving.kserve.io/"
"""Of annotations that controllers write."""
_LOGGER = f"{INTERNAL_PREFIX}logger"
_SINK_URL = f"{_LOGGER}-sink-url"
_LOGGER_STORAGE = "flambeau.dev/logger-storage"
"""JSON of what of ``logger.storage`` counts: path, format, serviceAccountName."""
_LOGGER_BATCH_SIZE = "flambeau.dev/logger-batch-size"
_LOGGER_BATCH_INTERVAL = "flambeau.dev/logger-batch-interval"
_LOGGER_MARSHALLER = "flambeau.dev/logger-marshaller-url"
_BATCHER = f"{INTERNAL_PREFIX}batcher"
_BATCHER_TIMEOUT = "flambeau.dev/batcher-timeout"
_SIZE_USUAL = 32
_SIZE_MAX = 100_000
_WAIT_MILLISECONDS_USUAL = 5000
_WAIT_MILLISECONDS_MAX = 600_000
_TIMEOUT_SECONDS_MAX = 600
_CERTIFICATES_KEY_USUAL = "service-ca.crt"
_FILE_COPIES_MAX = 1000
_FILE_SECONDS_MAX = 3600.0


@dataclass(frozen=True, slots=True)
class LoggerConfig:
    """What the administrator says of loggers: ``logger`` of the ConfigMap ``inferenceservice-config``."""

    annotations: Mapping[str, str] = field(default_factory=dict)
    """What holds for a logger that does not say it: url (``defaultUrl``), storage, batchSize, batchInterval, marshallerUrl."""
    certificates: str = ""
    """``caBundle``: a ConfigMap of the service's namespace, with the certificates that collectors are trusted by."""
    certificates_key: str = _CERTIFICATES_KEY_USUAL
    """``caCertFile``."""
    verify_tls: bool = True
    """Not ``tlsSkipVerify``."""


def logger_config(config_map: Object | None) -> LoggerConfig:
    """Return what a ConfigMap says; what can't be read counts as not said."""
    text = find(config_map or {}, "data", "logger")
    try:
        said = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        said = {}
    if not isinstance(said, dict):
        return LoggerConfig()
    texts = {name: said[name] for name in ("defaultUrl", "caBundle", "caCertFile") if isinstance(said.get(name), str)}
    url = {_SINK_URL: texts["defaultUrl"]} if texts.get("defaultUrl") else {}
    return LoggerConfig(
        {**url, **_storage_annotations(said)},
        texts.get("caBundle", ""),
        texts.get("caCertFile") or _CERTIFICATES_KEY_USUAL,
        verify_tls=said.get("tlsSkipVerify") is not True,
    )


def to_annotations(spec: Object) -> dict[str, str]:
    """Return the annotations of a component's revision.

    Args:
        spec: the component's.
    """
    found: dict[str, str] = {}
    logger, batcher = spec.get("logger"), spec.get("batcher")
    if logger is not None:
        url = logger.get("url") or ""
        found = {_LOGGER: "true", f"{_LOGGER}-mode": logger.get("mode") or "all"}
        if url:
            found[_SINK_URL] = url
        for each, name in (("metadataHeaders", "metadata-headers"), ("metadataAnnotations", "metadata-annotations")):
            if logger.get(each):
                found[f"{_LOGGER}-{name}"] = ",".join(logger[each])
        if not is_collector(url):
            found |= _storage_annotations(logger)
    if batcher is not None:
        found[_BATCHER] = "true"
        for each, name in (
            ("maxBatchSize", f"{_BATCHER}-max-batchsize"),
            ("maxLatency", f"{_BATCHER}-max-latency"),
            ("timeout", _BATCHER_TIMEOUT),
        ):
            if batcher.get(each):
                found[name] = str(batcher[each])
    return found


def _storage_annotations(logger: Object) -> dict[str, str]:
    storage = mapping_at(logger, "storage")
    wanted = {"path": storage.get("path"), "format": find(storage, "parameters", "format")}
    wanted |= {"serviceAccountName": storage.get("serviceAccountName")}
    said = {name: value for name, value in wanted.items() if value}
    found = {_LOGGER_STORAGE: json.dumps(said)} if said else {}
    for each, name in (
        ("batchSize", _LOGGER_BATCH_SIZE),
        ("batchInterval", _LOGGER_BATCH_INTERVAL),
        ("marshallerUrl", _LOGGER_MARSHALLER),
    ):
        if logger.get(each):
            found[name] = str(logger[each])
    return found


def logger_of(revision: Object, usual: LoggerConfig) -> Logger | None:
    """Return where copies of a revision's requests go, if anywhere.

    Args:
        revision: its annotations say it.
        usual: what holds where they don't.
    """
    metadata = revision["metadata"]
    own, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    annotations = {**usual.annotations, **own}
    url = annotations.get(_SINK_URL, "")
    store = _store_of(annotations) if is_file_store(url) else None
    if annotations.get(_LOGGER) != "true" or (store is None and not is_collector(url)):
        return None
    mode = annotations.get(f"{_LOGGER}-mode", "all")
    wanted = _names(annotations, f"{_LOGGER}-metadata-annotations")
    return Logger(
        url,
        requests=mode in ("all", "request"),
        responses=mode in ("all", "response"),
        headers=tuple(name.lower() for name in _names(annotations, f"{_LOGGER}-metadata-headers")),
        annotations=tuple((name, annotations[name]) for name in wanted if name in annotations),
        service=labels.get(SERVICE_LABEL, ""),
        namespace=metadata["namespace"],
        component=labels.get(COMPONENT_LABEL, ""),
        store=store,
        verify_tls=usual.verify_tls,
    )


def logger_account(revision: Object, usual: LoggerConfig) -> str:
    """Return the ServiceAccount that a revision's logger names for its storage; empty if it names none."""
    annotations = {**usual.annotations, **(revision["metadata"].get("annotations") or {})}
    return _said_of_storage(annotations).get("serviceAccountName", "")


def _store_of(annotations: Mapping[str, str]) -> LogStore:
    """Return how copies become files; what can't be read counts as not said."""
    said = _said_of_storage(annotations)
    marshaller = annotations.get(_LOGGER_MARSHALLER, "")
    try:
        seconds = duration_seconds(annotations.get(_LOGGER_BATCH_INTERVAL) or "0")
    except ValueError:
        seconds = 0.0
    return LogStore(
        said.get("path", ""),
        FileFormat.CSV if said.get("format") == FileFormat.CSV else FileFormat.JSON,
        batch_size=_number(annotations.get(_LOGGER_BATCH_SIZE), 1, 1, _FILE_COPIES_MAX),
        batch_seconds=min(seconds, _FILE_SECONDS_MAX),
        marshaller=marshaller if is_collector(marshaller) else "",
    )


def _said_of_storage(annotations: Mapping[str, str]) -> dict[str, str]:
    try:
        said = json.loads(annotations.get(_LOGGER_STORAGE) or "{}")
    except ValueError:
        return {}
    return {name: value for name, value in said.items() if isinstance(value, str)} if isinstance(said, dict) else {}


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
