"""The words of this room: a request on its way down, and an answer on its way up.

The front moves bytes: bodies are decoded into model input in the worker, by the codec that ``Protocol`` names. What is made for every
request is not frozen, only because a frozen dataclass takes three times as long to make; nobody changes one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any


class Protocol(IntEnum):
    """Which wire form the body is in, and the answer goes out in."""

    TORCHSERVE = 0
    """``/predictions``: any body; the row's key is ``body`` (or the form's and query's names)."""
    V1 = 1
    """KServe V1: ``{"instances": [...]}`` -> ``{"predictions": [...]}``."""
    V2 = 2
    """Open Inference Protocol as JSON."""
    FIELDS = 3
    """gRPC's ``Predictions``: ``body`` is the row's values one after the other, ``parameters`` their names and sizes in bytes."""
    OPENAI = 4
    """OpenAI's completions, chat and embeddings; the header ``url_path`` says which."""


class Method(IntEnum):
    """What is asked of the model."""

    PREDICT = 0
    EXPLAIN = 1
    DESCRIBE = 2


@dataclass(slots=True)
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
    """Query parameters, only on the routes where TorchServe adds them to the row; of FIELDS what the body holds."""
    head_text: bytes = field(default=b"", compare=False, repr=False)
    """All but id and body as a frame says it, where the door has that at hand (``workers.messages.head_text``); whoever replaces one of
    them empties it."""


class Tensors(dict[str, Any]):
    """One V2 request's inputs by name, in their order; a handler's answer of this type names the outputs.

    Only handlers with ``takes_tensors`` are handed one: as a whole row, where the others get a row for each input. Numbers are arrays of
    the input's shape and datatype, BYTES are lists of strings (bytes where they came in binary).

    Args:
        arrays: by name.
        parameters: the request's own.
    """

    def __init__(self, arrays: dict[str, Any], parameters: dict[str, Any] | None = None) -> None:
        super().__init__(arrays)
        self.parameters = parameters or {}


@dataclass(slots=True)
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
    phrase: str = ""
    """Reason phrase that the handler set; empty for HTTP's own."""


@dataclass(frozen=True, slots=True)
class TensorSignature:
    """An input or output of a model, as V2's metadata tell of it."""

    name: str
    datatype: str
    """``FP32``, ``BYTES``."""
    shape: tuple[int, ...]
    """-1: it varies."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a loaded model says of itself."""

    platform: str = "pytorch"
    inputs: tuple[TensorSignature, ...] = ()
    """Empty: it doesn't say."""
    outputs: tuple[TensorSignature, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricUpdate:
    """One value that a handler measured."""

    name: str
    kind: str
    """``counter`` (add it), ``gauge`` (it replaces the last) or ``histogram`` (observe it)."""
    unit: str
    """As TorchServe writes it: ``Milliseconds``, ``Count``."""
    dimensions: tuple[tuple[str, str], ...]
    """Name and value, in the handler's order, then ours."""
    value: float
    request_id: str = ""
    """The request that it is about; of several the ids with commas between them."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """sequenceBatching: requests of one sequence go to one worker, in their order."""

    idle_seconds_max: float
    """sequenceMaxIdleMSec: so long after its last answer a sequence is over."""
    total_seconds_max: float | None = None
    """sequenceTimeoutMSec: so long after its first request a sequence is over; None: no limit."""
    count_max: int = 1
    """maxNumSequence: so many sequences at once."""
    queue_size: int = 1
    """maxSequenceJobQueueSize: so many requests of one sequence may wait."""


@dataclass(frozen=True, slots=True)
class SequenceHeaders:
    """Names of the headers that say to which sequence a request belongs (ts_header_key_sequence_*)."""

    id: str = "ts_request_sequence_id"
    start: str = "ts_request_sequence_start"
    end: str = "ts_request_sequence_end"


@dataclass(frozen=True, slots=True)
class Parallelism:
    """parallelType: one worker is a group of processes, or one process with several devices."""

    kind: str
    """``pp``, ``tp``, ``pptp``; ``custom``: one process that sees all its devices."""
    processes: int
    """parallelLevel, or torchrun's nproc-per-node: processes of the group, and devices of it."""
    nodes: int = 1
    rendezvous_backend: str = "c10d"
    rendezvous_endpoint: str | None = None
    compute_threads: int = 1
    """OMP_NUMBER_THREADS: OMP_NUM_THREADS of each process."""

    @property
    def is_group(self) -> bool:
        """Whether torchrun starts the worker's processes."""
        return self.kind != "custom"


@dataclass(frozen=True, slots=True)
class MetricDeclaration:
    """A metric that a metrics.yaml declares under ``model_metrics``: ``context.metrics.get_metric`` finds it."""

    name: str
    kind: str
    """``counter``, ``gauge`` or ``histogram``."""
    unit: str
    dimensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """How one model version is run, after all sources were merged (programs/settings)."""

    min_workers: int = 1
    max_workers: int = 1
    batch_size: int = 1
    max_batch_delay_ms: int = 100
    response_timeout_seconds: float = 120.0
    """The workers' clock: one batch, from its hand-over to its answers."""
    startup_timeout_seconds: float = 120.0
    """One load of the model, warm-up included."""
    client_timeout_seconds: float | None = None
    """clientTimeoutInMills, the client's clock: from the request's acceptance to its answer, a 504 at the latest; None: no limit."""
    job_queue_size: int = 100
    max_retry_timeout_seconds: float = 300.0
    """maxRetryTimeoutInSec: so long failed workers are started again in quick succession, then seldom."""
    use_job_ticket: bool = False
    """Accept a request only where a worker can take it at once."""
    device: str = "cpu"
    """What one worker runs on: ``cpu``, ``cuda:1``. The pool decides it, per worker."""
    visible_devices: tuple[int, ...] = ()
    """GPUs of one worker that has several: its CUDA_VISIBLE_DEVICES. The pool decides it, per worker."""
    device_type: str | None = None
    """deviceType: ``cpu`` or ``gpu``; None: GPUs where there are any."""
    device_ids: tuple[int, ...] = ()
    """deviceIds: the GPUs that may be used; empty: all."""
    parallelism: Parallelism | None = None
    sequences: Sequences | None = None
    sequence_headers: SequenceHeaders = SequenceHeaders()
    continuous_batching: bool = False
    async_communication: bool = False
    use_venv: bool = False
    """Run the workers in a virtual environment of the archive's requirements."""
    warmup: tuple[object, ...] = ()
    """Requests that a worker answers before it counts as loaded; ``workers.warmup`` says of which form."""
    response_bytes_max: int = 6_553_500
    debug: bool = False
    """Somebody may stop the worker in a debugger: its load and its batches have no time limits."""

    @property
    def devices_per_worker(self) -> int:
        """GPUs of one worker on GPUs."""
        return self.parallelism.processes if self.parallelism is not None else 1

    @property
    def is_shared(self) -> bool:
        """Whether a worker takes requests while it works on others (continuousBatching, asyncCommunication)."""
        return self.continuous_batching or self.async_communication


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
    decode_input: bool = True
    """JSON and text reach TorchServe's handlers parsed; False: as bytes."""
    declared_metrics: tuple[MetricDeclaration, ...] = ()
    interpreter: Path | None = None
    """The Python of the model's virtual environment (useVenv); None: the server's own."""
    packages: Path | None = None
    """Where the archive's requirements were installed; such a model's workers are fresh interpreters."""
