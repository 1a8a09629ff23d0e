"""TorchServe's worker as objects, for users' tests that call ``Service.predict`` or load a handler with ``ModelLoaderFactory``.

The server itself never comes here: ``service.py`` runs its batches, and its frames are not TorchServe's.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from flambeau.serving.handlers.context import Context, RequestProcessor
from flambeau.serving.handlers.diagnosis import is_out_of_memory
from flambeau.serving.handlers.discovery import class_of, function_of, import_handler
from flambeau.serving.handlers.errors import PredictionException
from flambeau.serving.handlers.metrics import HandlerMetrics
from flambeau.serving.handlers.older import envelopes
from flambeau.serving.handlers.older.yaml_config import get_yaml_config

logger = logging.getLogger(__name__)

ENVELOPES: dict[str, type[envelopes.BaseEnvelope]] = {
    "body": envelopes.BodyEnvelope,
    "json": envelopes.JSONEnvelope,
    "kserve": envelopes.KServeEnvelope,
    "kservev2": envelopes.KServev2Envelope,
}
_END_OF_LIST = struct.pack("!i", -1)


class Service:
    """Hold a loaded handler and run batches in TorchServe's worker format.

    Args:
        model_name: the model's name.
        model_dir: where its files are.
        manifest: MANIFEST.json, whole.
        entry_point: called with rows and context.
        gpu: the device's number, None on the CPU.
        batch_size: the most rows of one batch.
        limit_max_image_pixels: whether decompression bombs are refused.
        metrics_cache: where the handler's numbers go.
    """

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any] | None,
        entry_point: Callable[[Any, Context], Any] | None,
        gpu: int | None,
        batch_size: int,
        limit_max_image_pixels: bool = True,
        metrics_cache: HandlerMetrics | None = None,
    ) -> None:
        config_file = ((manifest or {}).get("model") or {}).get("configFile")
        self._context = Context(
            model_name,
            model_dir,
            manifest,
            batch_size,
            gpu,
            metrics=metrics_cache,
            limit_max_image_pixels=limit_max_image_pixels,
            model_yaml_config=get_yaml_config(Path(model_dir, config_file)) if config_file else None,
        )
        self._entry_point = entry_point

    @property
    def context(self) -> Context:
        """The handler's context."""
        return self._context

    def set_cl_socket(self, cl_socket: Any) -> None:
        """Keep the socket to TorchServe's front."""
        self._context.cl_socket = cl_socket

    @staticmethod
    def retrieve_data_for_inference(
        batch: Sequence[Mapping[str, Any]] | None,
    ) -> tuple[list[RequestProcessor], list[dict[str, Any]], dict[int, str]]:
        """Return each request's processor, its row, and the request ids by their place.

        Raises:
            ValueError: there is no batch.
        """
        if batch is None:
            raise ValueError("Received invalid inputs")
        processors, rows, ids = [], [], {}
        for place, asked in enumerate(batch):
            rows.append({each["name"]: each["value"] for each in asked["parameters"]})
            headers: dict[str, Any] = {each["name"]: {"content-type": each["contentType"]} for each in asked["parameters"]}
            headers.update({each["name"].decode(): each["value"].decode() for each in asked.get("headers") or ()})
            processors.append(RequestProcessor(headers))
            ids[place] = asked["requestId"].decode()
        return processors, rows, ids

    def predict(self, batch: Sequence[Mapping[str, Any]]) -> bytes | None:
        """Run a batch; the answer is in TorchServe's worker format."""
        processors, rows, ids = self.retrieve_data_for_inference(batch)
        context = self._context
        context.request_processor, context.request_ids = processors, ids
        context.metrics.set_request_ids(ids)
        assert self._entry_point is not None, "a service without an entry point only holds a context"
        try:
            answers = self._entry_point(rows, context)
        except PredictionException as error:
            logger.exception("prediction refused")
            return create_predict_response(None, ids, error.message, error.error_code)
        except Exception as error:
            # A user's code may raise anything.
            logger.exception("prediction failed")
            code, text = (507, "Out of resources") if is_out_of_memory(error) else (503, "Prediction failed")
            return create_predict_response(None, ids, text, code)
        if not isinstance(answers, list):
            return create_predict_response(None, ids, "Invalid model predict output", 503)
        if len(answers) != len(rows):
            return create_predict_response(None, ids, "number of batch response mismatched", 503)
        return create_predict_response(answers, ids, "Prediction success", 200, context)


class ModelLoader(ABC):
    """Make a service out of a model's folder."""

    @abstractmethod
    def load(
        self,
        model_name: str,
        model_dir: str,
        handler: str,
        gpu_id: int | None,
        batch_size: int,
        envelope: str | None = None,
        limit_max_image_pixels: bool = True,
        metrics_cache: HandlerMetrics | None = None,
    ) -> Service:
        """Return the service that runs the model's batches."""


class TsModelLoader(ModelLoader):
    """Load a handler as TorchServe's worker does."""

    def load(
        self,
        model_name: str,
        model_dir: str,
        handler: str,
        gpu_id: int | None,
        batch_size: int,
        envelope: str | None = None,
        limit_max_image_pixels: bool = True,
        metrics_cache: HandlerMetrics | None = None,
    ) -> Service:
        """Import and initialize a handler.

        Returns:
            The service that runs its batches.
        """
        manifest_file = Path(model_dir, "MAR-INF", "MANIFEST.json")
        manifest = json.loads(manifest_file.read_bytes()) if manifest_file.is_file() else None
        if model_dir not in sys.path:
            sys.path.insert(0, model_dir)
        module = import_handler(handler, Path(model_dir))
        service = Service(model_name, model_dir, manifest, None, gpu_id, batch_size, limit_max_image_pixels, metrics_cache)
        service.context.request_ids = {0: str(uuid.uuid4())}  # updates of metrics while loading are about one
        entry: Any = function_of(module, handler)
        if entry is None:
            instance: Any = class_of(module, handler)()
            instance.initialize(service.context)
            entry = instance.handle
        else:
            entry(None, service.context)
        service._entry_point = ENVELOPES[envelope](entry).handle if envelope else entry
        return service


class ModelLoaderFactory:
    """Give out the one loader there is."""

    @staticmethod
    def get_model_loader() -> TsModelLoader:
        """Return a loader."""
        return TsModelLoader()


def create_predict_response(
    ret: Sequence[Any] | None,
    req_id_map: Mapping[int, str],
    message: str,
    code: int,
    context: Context | None = None,
    ts_stream_next: bool = False,
) -> bytes | None:
    """Return a batch's answers as TorchServe's worker sends them; None in all but a group's first process.

    Args:
        ret: one answer a request; None where all failed.
        req_id_map: the request ids by their place.
        message: what the client reads where all failed.
        code: the HTTP status of the batch.
        context: has each answer's status and headers.
        ts_stream_next: whether more parts follow.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return None
    try:
        bodies = [b"error" if ret is None else _body_of(ret[place]) for place in req_id_map]
    except TypeError:
        return create_predict_response(None, req_id_map, "Unsupported model output data type.", 503)
    parts = [struct.pack("!i", code), _sized(message.encode())]
    for (place, identifier), body in zip(req_id_map.items(), bodies, strict=True):
        parts.append(_sized(identifier.encode()))
        if context is None:
            parts += [_sized(b""), struct.pack("!i", code), _sized(b""), encode_response_headers({})]
        else:
            if ts_stream_next:
                context.set_response_header(place, "ts_stream_next", "true")
            status, phrase = context.get_response_status(place)
            parts += [_sized((context.get_response_content_type(place) or "").encode()), struct.pack("!i", status)]
            parts += [_sized(phrase.encode()), encode_response_headers(context.get_response_headers(place))]
        parts.append(_sized(body))
    return b"".join([*parts, _END_OF_LIST])


def create_load_model_response(code: int, message: str) -> bytes:
    """Return a load's result as TorchServe's worker sends it."""
    return struct.pack("!i", code) + _sized(message.encode()) + _END_OF_LIST


def encode_response_headers(resp_hdr_map: Mapping[str, str]) -> bytes:
    """Return headers as TorchServe's worker sends them."""
    fields = [_sized(text.encode()) for pair in resp_hdr_map.items() for text in pair]
    return b"".join([struct.pack("!i", len(resp_hdr_map)), *fields])


def _body_of(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        buffer = BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()
    return json.dumps(value, indent=2).encode()


def _sized(content: bytes) -> bytes:
    return struct.pack("!i", len(content)) + content
