"""Pictures in: bytes, base64 or numbers become one tensor."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy
import torch
from PIL import Image, UnidentifiedImageError

from flambeau.serving.handlers.base import BaseHandler
from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.errors import InvalidRows, PredictionException, UnevenRows
from flambeau.serving.handlers.timing import timed

EXPLAIN_STEPS = 15
"""Steps of integrated gradients, as in TorchServe: answers differ with it."""

KEYS_CHARS_MAX = 200
"""How much of a client's own key names an error repeats."""


class VisionHandler(BaseHandler):
    """Serve a model of pictures; a subclass gives ``image_processing``, a callable from a PIL image to a tensor."""

    image_processing: Any

    def initialize(self, context: Context) -> None:
        """Load the model; lift Pillow's guard against decompression bombs if the operator asked for that."""
        super().initialize(context)
        if not context.system_properties.get("limit_max_image_pixels", True):
            Image.MAX_IMAGE_PIXELS = None

    @cached_property
    def ig(self) -> Any:
        """Integrated gradients of the model; captum is imported when the first explanation is asked for."""
        try:
            from captum.attr import IntegratedGradients  # noqa: PLC0415 - 0.7 s and matplotlib, for one rare path
        except ImportError as error:
            raise PredictionException('explanations need captum, which is not installed: pip install "flambeau[explain]"', 501) from error
        return IntegratedGradients(self.model)

    @timed
    def preprocess(self, data: Sequence[Any]) -> Any:
        """Turn rows into one tensor on the model's device.

        Args:
            data: rows whose ``data`` or ``body`` is an encoded picture, base64 text of one, or nested lists of numbers.

        Returns:
            A float tensor.

        Shapes:
            ``(batch, channels, height, width)``.

        Raises:
            InvalidRows: some rows hold no picture; nothing was done.
            UnevenRows: the pictures have several sizes, so that they can't be one tensor.
        """
        tensors: list[Any] = []
        refused: dict[int, Exception] = {}
        for index, row in enumerate(data):
            try:
                picture = _picture_of(row)
                tensors.append(picture if torch.is_tensor(picture) else self.image_processing(picture))
            except Exception as error:
                # Also what the subclass's transform raises: it concerns this picture and no other.
                refused[index] = error
        if refused:
            raise InvalidRows(refused)
        places: dict[Any, list[int]] = {}
        for index, tensor in enumerate(tensors):
            places.setdefault(tensor.shape, []).append(index)
        if len(places) > 1:
            raise UnevenRows(list(places.values()))
        return torch.stack(tensors).to(self.device)

    def get_insights(self, tensor_data: Any, _: Any, target: Any = 0) -> Any:
        """Return how much each pixel counted for the target class."""
        return self.ig.attribute(tensor_data, target=target, n_steps=EXPLAIN_STEPS).tolist()


def _picture_of(row: Any) -> Any:
    """Return a row's picture as a loaded PIL image, or as a tensor where the client sent numbers."""
    if not isinstance(row, dict):
        raise PredictionException(f"a row must be an object with a picture under data or body, not {_kind(row)}", 400)
    value = row.get("data") or row.get("body")
    if not value and ("data" in row or "body" in row):
        raise PredictionException("the picture is empty", 400)
    if not value:
        keys = ", ".join(sorted(map(str, row)))[:KEYS_CHARS_MAX] or "none"
        raise PredictionException(f"no picture: expected one under the key data or body, found the keys {keys}", 400)
    if isinstance(value, str):
        try:
            value = base64.b64decode(value)
        except (binascii.Error, ValueError) as error:
            raise PredictionException(f"the picture is text but not base64: {error}", 400) from error
    if isinstance(value, bytes | bytearray | memoryview):
        return _opened(bytes(value))
    if isinstance(value, numpy.ndarray):  # a V2 tensor that came in binary
        return torch.as_tensor(value, dtype=torch.float32)
    # Nothing but a list: FloatTensor(7) is memory for seven numbers, and a client may send a large one.
    if not isinstance(value, list):
        raise PredictionException(f"the picture must be bytes, base64 text or lists of numbers, not {_kind(value)}", 400)
    try:
        return torch.FloatTensor(value)
    except (TypeError, ValueError) as error:
        raise PredictionException(f"the picture's numbers don't form an array: {error}", 400) from error


def _opened(content: bytes) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except UnidentifiedImageError as error:
        raise PredictionException(f"not a picture that Pillow knows: {len(content)} bytes beginning with {content[:8]!r}", 400) from error
    except Image.DecompressionBombError as error:
        raise PredictionException(f"the picture is too large: {error}", 413) from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's codecs raise on broken files
        raise PredictionException(f"the picture can't be decoded: {error}", 400) from error
    return picture


def _kind(value: Any) -> str:
    return {"str": "text", "list": "a list", "NoneType": "null", "dict": "an object", "int": "a number"}.get(
        type(value).__name__, type(value).__name__
    )
