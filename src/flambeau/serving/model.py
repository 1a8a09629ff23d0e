"""The words of this room: a request on its way down, and an answer on its way up.

The front moves bytes: bodies are decoded into model input in the worker, by the codec that ``Protocol`` names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path


class Protocol(IntEnum):
    """Which wire form the body is in, and the answer goes out in."""

    TORCHSERVE = 0
    """``/predictions``: any body; the row's key is ``body`` (or the form's and query's names)."""
    V1 = 1
    """KServe V1: ``{"instances": [...]}`` -> ``{"predictions": [...]}``."""
    V2 = 2
    """Open Inference Protocol as JSON."""


class Method(IntEnum):
    """What is asked of the model."""

    PREDICT = 0
    EXPLAIN = 1
    DESCRIBE = 2


@dataclass(frozen=True, slots=True)
class Job:
    """One request, as it travels to a worker."""

    id: str
    """The request id the client sees as ``x-request-id``."""
    protocol: Protocol
    method: Method
    content_type: str
    """As the client sent it, with its parameters."""
    headers: tuple[tuple[str, str], ...]
    """What a handler may read with ``context.get_request_header``."""
    body: bytes
    parameters: tuple[tuple[str, str], ...] = ()
    """Query parameters, only on the routes where TorchServe adds them to the row."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker said to one request."""

    status: int
    """HTTP status; 200 unless the handler or an error set another."""
    content_type: str | None
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    """Set by the handler."""
    error_type: str | None = None
    """TorchServe's error class (``InternalServerException``) when the worker failed; ``body`` is then the message in UTF-8, and the door
    gives it the shape of its protocol."""
    handler_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """How one model version is run, after all sources were merged (programs/settings)."""

    min_workers: int = 1
    max_workers: int = 1
    batch_size: int = 1
    max_batch_delay_ms: int = 100
    response_timeout_seconds: float = 120.0
    startup_timeout_seconds: float = 120.0
    job_queue_size: int = 100
    max_retry_timeout_seconds: float = 300.0
    device: str = "cpu"
    response_bytes_max: int = 6_553_500


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a worker needs to load a model."""

    name: str
    version: str
    directory: Path
    """Where the archive was unpacked."""
    url: str
    """As registered: ``mnist.mar``."""
    handler: str
    """``mnist_handler.py``, ``image_classifier``, ``mod:func``."""
    manifest: dict[str, object] = field(default_factory=dict)
    envelope: str | None = None
    """service_envelope / TS_SERVICE_ENVELOPE."""
    config: ModelConfig = field(default_factory=ModelConfig)
    yaml: dict[str, object] = field(default_factory=dict)
    """model-config.yaml, whole: ``context.model_yaml_config``."""
    limit_max_image_pixels: bool = True
    packages: Path | None = None
    """Where the archive's requirements were installed; such a model's workers are fresh interpreters."""
