"""What every wire form turns a request into, and an answer from.

A codec is a module with two functions: ``decode(job) -> Rows`` and ``encode(values, rows, ...) -> Encoded``. They run in the worker
process and are pure. ``workers.execution`` calls them; one request's error never touches its neighbours in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """V2: one output that the client is sent."""

    row: int
    """Whose result."""
    name: str
    binary: bool = False


@dataclass(slots=True)
class Rows:
    """One request as input for the handler; all rows of a batch go through one call of it."""

    rows: list[object]
    """At least one. TorchServe's form gives one row, V1 one for each instance, V2 one for each input tensor."""
    noun: str | None = None
    """What clients call a row (``instance``, ``input``), named with its index where it fails; None where a request is one row."""
    echo_id: str | None = None
    """V2: the id that the client chose."""
    parts: tuple[tuple[str, str], ...] = ()
    """TorchServe: name and content type of each value of the row; a handler reads them beside the headers."""
    names: tuple[str, ...] = ()
    """V2: the inputs' names, in the order of the rows."""
    wanted: tuple[Wanted, ...] = ()
    """V2: what is sent; empty: each row's result as JSON under its name."""


@dataclass(slots=True)
class Encoded:
    """One answer's body as it goes over the wire."""

    body: bytes
    content_type: str | None
    """None where the wire form gives none (TorchServe's text and bytes)."""
    headers: tuple[tuple[str, str], ...] = ()
    """V2: where the JSON ends and binary tensors begin."""
