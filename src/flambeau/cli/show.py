"""How objects are shown: tables that line up, YAML, JSON, names, a field.

Tables are the server's own (the ``Table`` form), printed as kubectl prints them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import yaml

from flambeau.foundation.errors import InvalidInput

FORMATS = ("wide", "yaml", "json", "name", "jsonpath=...", "custom-columns=...")
_GAP = "   "
_STEP = re.compile(
    r"\.([A-Za-z0-9_\-]+(?:\\\.[A-Za-z0-9_\-/]+)*)|\[(\d+|\*)\]|\[['\"]([^'\"]+)['\"]\]|\[\?\(@\.(\w+)==['\"]([^'\"]*)['\"]\)\]"
)


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table's lines, its columns as wide as their widest cell and three blanks apart."""
    widths = [max(len(header), *(len(row[i]) for row in rows)) if rows else len(header) for i, header in enumerate(headers)]
    lines = []
    for row in (headers, *rows):
        lines.append(_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return lines


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns a table has beside those that the server shows always."""

    wide: bool = False
    """Those of a priority over 0."""
    namespace: bool = False
    """The namespace, in front."""
    labels: bool = False
    """The labels, behind."""


def server_table(table: dict[str, Any], columns: Columns, *, label: str = "") -> tuple[list[str], list[list[str]]]:
    """Return headers and rows of a server's Table.

    Args:
        table: the ``meta.k8s.io/v1`` Table.
        columns: what is shown of it.
        label: put in front of each name, as ``inferenceservice.serving.kserve.io/``.
    """
    shown = [i for i, column in enumerate(table["columnDefinitions"]) if columns.wide or not column.get("priority")]
    headers = [table["columnDefinitions"][i]["name"].upper() for i in shown]
    rows = []
    for row in table["rows"] or []:
        cells = ["" if row["cells"][i] is None else str(row["cells"][i]) for i in shown]
        if label:
            cells[0] = label + cells[0]
        metadata = row["object"]["metadata"]
        if columns.namespace:
            cells.insert(0, metadata.get("namespace", ""))
        if columns.labels:
            labels = metadata.get("labels") or {}
            cells.append(",".join(f"{name}={labels[name]}" for name in sorted(labels)) or "<none>")
        rows.append(cells)
    return [*(["NAMESPACE"] if columns.namespace else []), *headers, *(["LABELS"] if columns.labels else [])], rows


def by_custom_columns(objects: Sequence[dict[str, Any]], spec: str) -> list[str]:
    """Return a table's lines whose columns are ``HEADER:jsonpath``, apart by commas.

    Raises:
        InvalidInput: one has no header, or a path that isn't understood.
    """
    columns = [word.partition(":")[::2] for word in spec.split(",")]
    if not all(header and path for header, path in columns):
        raise InvalidInput(f"cannot read the columns {spec!r}", hint="write them as NAME:.metadata.name,URL:.status.url")
    rows = [[by_jsonpath(obj, "{" + path.strip("{}") + "}") or "<none>" for _, path in columns] for obj in objects]
    return table_lines([header for header, _ in columns], rows)


def as_yaml(value: Any) -> str:
    """Return YAML as kubectl writes it: keys sorted, blocks, no aliases."""
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=10_000)


def as_json(value: Any) -> str:
    """Return JSON with four blanks of indent, as kubectl does."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return re.sub(r"^( +)", lambda match: match.group(1) * 2, text, flags=re.MULTILINE)


def by_jsonpath(value: Any, template: str) -> str:
    """Fill in a jsonpath template such as ``{.status.url}`` or ``{.items[*].metadata.name}``.

    Fields, indexes, ``[*]`` and one equality filter are understood.

    Raises:
        InvalidInput: the template has something else.
    """

    def fill(match: re.Match[str]) -> str:
        expression = match.group(1).strip()
        if expression.startswith('"') and expression.endswith('"'):
            return bytes(expression[1:-1], "utf-8").decode("unicode_escape")
        return " ".join(_plain(found) for found in _follow([value], expression.removeprefix("$")))

    return re.sub(r"\{([^{}]*)\}", fill, template if "{" in template else "{" + template + "}")


def _follow(values: list[Any], expression: str) -> list[Any]:
    position = 0
    while position < len(expression):
        match = _STEP.match(expression, position)
        if match is None:
            raise InvalidInput(
                f"cannot read the jsonpath {expression!r} at character {position}",
                hint="fields, [index], [*] and [?(@.field=='value')] are understood",
            )
        position = match.end()
        field, index, quoted, filter_field, filter_value = match.groups()
        name = field.replace("\\.", ".") if field else quoted
        if name is not None:
            values = [v[name] for v in values if isinstance(v, dict) and name in v]
        elif index == "*":
            values = [item for v in values for item in (v.values() if isinstance(v, dict) else v)]
        elif index is not None:
            values = [v[int(index)] for v in values if isinstance(v, list) and int(index) < len(v)]
        else:
            values = [item for v in values for item in v if str(item.get(filter_field)) == filter_value]
    return values


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_PlainDumper.add_representer(str, _text)
