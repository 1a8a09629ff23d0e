"""What a handler may ask about its model and its requests, and tell about its answers.

One :class:`Context` lives as long as the model is loaded; the service gives it a new batch with :meth:`Context.begin`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flambeau.serving.handlers.metrics import HandlerMetrics

SERVER_VERSION = "0.12.0"
"""The TorchServe whose handler interface this is; handlers compare it."""


class RequestProcessor:
    """Hold one request's headers and what the handler sets for its answer.

    Args:
        request_header: the request's headers in the client's spelling; of a repeated name the last counts.
    """

    __slots__ = ("_phrase", "_properties", "_response_headers", "_status")

    def __init__(self, request_header: Iterable[tuple[str, Any]] | dict[str, Any] = ()) -> None:
        self._properties = dict(request_header)
        self._response_headers: dict[str, str] = {}
        self._status = 200
        self._phrase = ""

    def get_request_property(self, key: str) -> Any:
        """Return a request header, or None; the exact spelling wins over another capitalisation."""
        if key in self._properties:
            return self._properties[key]
        # HTTP names have no case, and proxies change it; TorchServe's handlers were written against one spelling.
        folded = key.lower()
        return next((value for name, value in self._properties.items() if name.lower() == folded), None)

    def get_request_properties(self) -> dict[str, Any]:
        """Return all request headers."""
        return self._properties

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        """Set the answer's status."""
        self._status = code
        self._phrase = reason_phrase or ""

    def get_response_status_code(self) -> int:
        """Return the answer's status, 200 unless the handler set another."""
        return self._status

    def get_response_status_phrase(self) -> str:
        """Return the answer's reason phrase."""
        return self._phrase

    def add_response_property(self, key: str, value: str) -> None:
        """Set a header of the answer."""
        self._response_headers[key] = value

    def get_response_header(self, key: str) -> str | None:
        """Return a header that the handler set."""
        return self._response_headers.get(key)

    def get_response_headers(self) -> dict[str, str]:
        """Return all headers that the handler set."""
        return self._response_headers


class Context:
    """Tell a handler where it runs and whom it serves.

    Args:
        model_name: the model's name.
        model_dir: where the archive was unpacked.
        manifest: MANIFEST.json, whole.
        batch_size: the most rows of one batch.
        gpu: the device's number, None on the CPU.
        mms_version: the server's version, as handlers see it.
        limit_max_image_pixels: whether decompression bombs are refused.
        metrics: where the handler's numbers go; None: nowhere.
        model_yaml_config: model-config.yaml, whole.
    """

    header_key_sequence_id = "ts_request_sequence_id"
    header_key_sequence_start = "ts_request_sequence_start"
    header_key_sequence_end = "ts_request_sequence_end"

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any] | None,
        batch_size: int,
        gpu: int | None,
        mms_version: str = SERVER_VERSION,
        limit_max_image_pixels: bool = True,
        metrics: HandlerMetrics | None = None,
        model_yaml_config: dict[str, Any] | None = None,
    ) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.model_yaml_config = model_yaml_config or {}
        self.metrics = HandlerMetrics(model_name) if metrics is None else metrics
        self.system_properties: dict[str, Any] = {
            "model_dir": model_dir,
            "gpu_id": gpu,
            "batch_size": batch_size,
            # The name that handlers have seen since Multi Model Server, TorchServe's parent.
            "server_name": "MMS",
            "server_version": mms_version,
            "limit_max_image_pixels": limit_max_image_pixels,
        }
        self.request_ids: dict[int, str] | None = None
        self.request_processor: list[RequestProcessor] = [RequestProcessor()]
        self.stopping_criteria: list[Callable[[Any], bool | None]] | None = None
        """Continuous batching: the handler's word on which rows are done."""
        self.cl_socket: Any = None
        """TorchServe's socket to its front; streaming goes through :meth:`send_part` here."""
        self._send_part: Callable[[int, Any], None] | None = None

    def begin(
        self,
        headers: Sequence[Sequence[tuple[str, Any]]],
        request_ids: Sequence[str],
        send_part: Callable[[int, Any], None] | None = None,
    ) -> None:
        """Forget the last batch and start another.

        Args:
            headers: each request's headers.
            request_ids: each request's id, in the same order.
            send_part: sends a part of a row's answer to its client; None where nobody can take parts.
        """
        self.request_processor = [RequestProcessor(fields) for fields in headers]
        self.request_ids = ids = dict(enumerate(request_ids))
        self.metrics.set_request_ids(ids)
        self._send_part = send_part

    def end(self) -> None:
        """Note that the batch is over: no thread that the handler left behind can stream into the next one."""
        self._send_part = None

    def send_part(self, idx: int, value: Any) -> None:
        """Send a part of a row's answer to its client now; what the handler returns for the row is the last part.

        Args:
            idx: the row.
            value: what could be returned for it.

        Raises:
            RuntimeError: no batch is being answered, or its client can't take parts.
        """
        if self._send_part is None:
            raise RuntimeError("a part of an answer can be sent only while its batch is in handle()")
        self._send_part(idx, value)

    def get_request_id(self, idx: int = 0) -> str | None:
        """Return a request's id; None while the model is loading."""
        return None if self.request_ids is None else self.request_ids.get(idx)

    def get_request_header(self, idx: int, key: str) -> Any:
        """Return a header of a request, or None."""
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        """Return all headers of a request."""
        return self.request_processor[idx].get_request_properties()

    def get_sequence_id(self, idx: int) -> str | None:
        """Return the sequence that a request belongs to, or None."""
        sequence_id: str | None = self.get_request_header(idx, self.header_key_sequence_id)
        return sequence_id

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Set the content type of an answer."""
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        """Return the content type that the handler set, or None."""
        return self.request_processor[idx].get_response_header("content-type")

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Set a header of an answer."""
        self.request_processor[idx].add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        """Return the headers that the handler set."""
        return self.request_processor[idx].get_response_headers()

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Set the status of an answer."""
        self.request_processor[idx].report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        """Set the status of every answer of the batch."""
        for processor in self.request_processor:
            processor.report_status(code, phrase)

    def get_response_status(self, idx: int) -> tuple[int, str]:
        """Return an answer's status and reason phrase."""
        processor = self.request_processor[idx]
        return processor.get_response_status_code(), processor.get_response_status_phrase()
