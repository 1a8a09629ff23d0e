"""Objects as the Tables that ``kubectl get`` prints. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.control.resources.kind import Kind, Object

_NAME_COLUMN: dict[str, Any] = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name is unique in a namespace",
    "priority": 0,
}


def table(
    kind: Kind,
    objects: Iterable[Object],
    now: float,
    *,
    meta_version: str,
    metadata: dict[str, Any],
    include: str = "Metadata",
    head: bool = True,
) -> Object:
    """Return a Table of objects of one kind.

    Args:
        kind: whose columns are shown.
        objects: one row each.
        now: seconds since the epoch, for ages.
        meta_version: ``v1`` or ``v1beta1`` of meta.k8s.io, as the client asked.
        metadata: the list's own.
        include: what a row carries besides its cells: ``None``, ``Metadata`` or ``Object``.
        head: whether to describe the columns (a watch does it once).
    """
    api_version = f"meta.k8s.io/{meta_version}"
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata,
        "columnDefinitions": _columns(kind) if head else None,
        "rows": [_row(kind, obj, now, api_version, include) for obj in objects],
    }


def partial_metadata(obj: Object, api_version: str) -> Object:
    """Return an object without its content."""
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": obj["metadata"]}


def _columns(kind: Kind) -> list[dict[str, Any]]:
    own = [
        {
            "name": column.name,
            "type": column.type,
            "format": "",
            "description": column.description,
            "priority": 1 if column.wide else 0,
        }
        for column in kind.columns
    ]
    return [_NAME_COLUMN, *own] if not _names_itself(kind) else own


def _row(kind: Kind, obj: Object, now: float, api_version: str, include: str) -> dict[str, Any]:
    own = [column.cell(obj, now) for column in kind.columns]
    row: dict[str, Any] = {"cells": own if _names_itself(kind) else [obj["metadata"]["name"], *own]}
    if include == "Object":
        row["object"] = obj
    elif include == "Metadata":
        row["object"] = partial_metadata(obj, api_version)
    return row


def _names_itself(kind: Kind) -> bool:
    """Tell whether the kind places its own Name column (events show it last, and only when wide)."""
    return any(column.name == "Name" for column in kind.columns)
