"""``flambeau get``: show objects as a table, YAML, JSON, names or one field."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter

from flambeau.cli import show
from flambeau.cli.api import TABLE, Api, ResourceType
from flambeau.cli.target import HERE, Target
from flambeau.foundation.errors import InvalidInput

WATCH_SILENCE_SECONDS = 3600.0


def get(
    what: str,
    /,
    *names: str,
    output: Annotated[str, Parameter(name=["--output", "-o"])] = "",
    all_namespaces: Annotated[bool, Parameter(name=["--all-namespaces", "-A"], negative=())] = False,
    selector: Annotated[str, Parameter(name=["--selector", "-l"])] = "",
    field_selector: str = "",
    show_labels: Annotated[bool, Parameter(negative=())] = False,
    watch: Annotated[bool, Parameter(name=["--watch", "-w"], negative=())] = False,
    target: Target = HERE,
) -> int:
    """Show objects.

    Parameters
    ----------
    what
        Kind or kinds, such as `isvc`, `pods` or `secret,sa`, or `kind/name`.
    names
        Only these objects, such as `get isvc mnist-torchserve`.
    output
        `wide`, `yaml`, `json`, `name`, `jsonpath={.status.url}` or `custom-columns=NAME:.metadata.name,URL:.status.url`.
    all_namespaces
        In every namespace, such as `get pods -A`.
    selector
        Only objects with these labels, such as `-l app=mnist`.
    field_selector
        Only objects with these fields, such as `--field-selector status.phase=Running`.
    show_labels
        Show labels as the last column.
    watch
        Go on showing changes until interrupted, such as `get isvc -w`.
    """
    if output and output not in show.FORMATS and not output.startswith(("jsonpath=", "custom-columns=")):
        raise InvalidInput(f"unknown output {output!r}", hint=f"there is: {', '.join(show.FORMATS)}")
    if "/" in what:
        what, _, name = what.partition("/")
        names = (name, *names)
    with target.open() as api:
        kinds = api.types_named(what)
        namespace = None if all_namespaces else api.namespace
        query = {name: value for name, value in (("labelSelector", selector), ("fieldSelector", field_selector)) if value}
        if watch:
            return _watch(api, kinds[0], namespace, names, query)
        if output in ("", "wide"):
            columns = show.Columns(wide=output == "wide", namespace=all_namespaces, labels=show_labels)
            return _print_tables(api, kinds, namespace, names, query, columns)
        return _print_objects(api, kinds, namespace, names, query, output)


def _paths(kind: ResourceType, namespace: str | None, names: tuple[str, ...]) -> list[str]:
    return [kind.path(namespace, name) for name in names] or [kind.path(namespace)]


def _print_tables(
    api: Api, kinds: list[ResourceType], namespace: str | None, names: tuple[str, ...], query: dict[str, str], columns: show.Columns
) -> int:
    blocks: list[list[str]] = []
    for kind in kinds:
        label = f"{kind.label}/" if len(kinds) > 1 else ""
        headers: list[str] = []
        rows: list[list[str]] = []
        for path in _paths(kind, namespace, names):
            table = api.get(path, query=query, accept=TABLE)
            headers, more = show.server_table(table, _of(columns, kind), label=label)
            rows.extend(more)
        if rows:
            blocks.append(show.table_lines(headers, rows))
    if not blocks:
        place = f" in {namespace} namespace" if namespace and any(kind.namespaced for kind in kinds) else ""
        print(f"No resources found{place}.", file=sys.stderr)
        return 0
    print("\n\n".join("\n".join(block) for block in blocks))
    return 0


def _of(columns: show.Columns, kind: ResourceType) -> show.Columns:
    """Return the columns without those that a kind has nothing for."""
    return replace(columns, namespace=columns.namespace and kind.namespaced)


def _print_objects(
    api: Api, kinds: list[ResourceType], namespace: str | None, names: tuple[str, ...], query: dict[str, str], output: str
) -> int:
    objects: list[dict[str, Any]] = []
    for kind in kinds:
        for path in _paths(kind, namespace, names):
            answer = api.get(path, query=query)
            if "items" in answer:
                objects.extend({"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in answer["items"])
            else:
                objects.append(answer)
    if output == "name":
        for obj in objects:
            print(f"{api.type_of(obj).label}/{obj['metadata']['name']}")
        return 0
    if output.startswith("custom-columns="):
        print("\n".join(show.by_custom_columns(objects, output.removeprefix("custom-columns="))))
        return 0
    single = len(objects) == 1 and len(names) == 1
    value = objects[0] if single else {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": objects}
    if output.startswith("jsonpath="):
        sys.stdout.write(show.by_jsonpath(value, output.removeprefix("jsonpath=")))
        if sys.stdout.isatty():
            print()
    else:
        print(show.as_json(value) if output == "json" else show.as_yaml(value).rstrip())
    return 0


def _watch(api: Api, kind: ResourceType, namespace: str | None, names: tuple[str, ...], query: dict[str, str]) -> int:
    columns = show.Columns(namespace=namespace is None and kind.namespaced)
    if names:
        query["fieldSelector"] = f"metadata.name={names[0]}"
    widths: list[int] = []
    listing = api.get(kind.path(namespace), query=query, accept=TABLE)
    headers, rows = show.server_table(listing, columns)
    for line in show.table_lines(headers, rows):
        print(line, flush=True)
    widths = [max(len(header), *(len(row[i]) for row in rows)) if rows else len(header) for i, header in enumerate(headers)]
    query["resourceVersion"] = listing["metadata"]["resourceVersion"]
    for event in api.watch(kind.path(namespace), query=query, read_seconds=WATCH_SILENCE_SECONDS):
        if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
            obj = event["object"]
            row = api.get(kind.path(obj["metadata"].get("namespace"), obj["metadata"]["name"]), accept=TABLE)
            _, rows = show.server_table(row, columns)
            for cells in rows:
                print("   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip(), flush=True)
    return 0
