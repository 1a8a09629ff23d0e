"""What a page is request, and its parameters: from the query, or from a JSON body that says it is one.

TorchServe's leniency is kept: a number that is none counts as absent, and only ``true`` is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.http1 import Head
from flambeau.serving.frontends.routes import Plane, Route
from flambeau.serving.protocol.json_text import read_json
from flambeau.serving.protocol.torchserve import JSON, media_type_of

Rendered = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers, body."""

PARAMETERS_MAX = 256
"""Of one request."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request for a page."""

    route: Route
    head: Head
    planes: frozenset[Plane] = frozenset()
    """Of the door that it came in by."""
    body: bytes = b""
    id: str = ""

    def query(self) -> Parameters:
        """Return the parameters of the query.

        Raises:
            InvalidInput: there are too many.
        """
        return Parameters(dict(_pairs(self.head.query)))

    def parameters(self) -> Parameters:
        """Return the parameters of the query and of a JSON body; the query's win.

        Raises:
            InvalidInput: the body says that it is JSON and is no JSON object.
        """
        found: dict[str, object] = {}
        content_type = (self.head.get(b"content-type") or b"").decode("latin-1")
        if media_type_of(content_type) == JSON and self.body.strip():
            document = read_json(self.body)
            if not isinstance(document, dict):
                raise InvalidInput(f"the body must be a JSON object, not {type(document).__name__}")
            found.update(document)
        return Parameters({**found, **dict(_pairs(self.head.query))})


class Parameters:
    """Named values as a client wrote them.

    Args:
        values: texts of a query, or whatever JSON holds.
    """

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        """Return a text; None if it is not there."""
        value = self._values.get(name)
        return None if value is None else str(value)

    def integer(self, name: str) -> int | None:
        """Return a whole number; None if it is not there or is none."""
        value = self._values.get(name)
        try:
            return int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
        except ValueError:
            return None

    def boolean(self, name: str, default: bool) -> bool:
        """Return whether a parameter is ``true``; the default if it is not there."""
        value = self._values.get(name)
        return default if value is None else str(value).lower() == "true"


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
    except ValueError as error:
        raise InvalidInput(f"the query has more than {PARAMETERS_MAX} parameters") from error


def query_pairs(query: bytes) -> tuple[tuple[str, str], ...]:
    """Return a query's names and values in their order.

    Raises:
        InvalidInput: there are too many.
    """
    return tuple(_pairs(query))
