"""Read one family out of Prometheus text, leniently: the original writes a comma before the closing brace. Pure."""

from __future__ import annotations

import re
from typing import Any

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_VOLATILE = frozenset({"Hostname", "hostname", "WorkerName"})


def metric_family(text: str, name: str, *, with_values: bool) -> dict[str, Any]:
    """Return ``{"help", "type", "samples"}`` of a family; samples are ``name{labels}`` -> value or ``<value>``, hosts masked."""
    family: dict[str, Any] = {"help": None, "type": None, "samples": {}}
    for line in text.splitlines():
        if line.startswith(f"# HELP {name} "):
            family["help"] = line.removeprefix(f"# HELP {name} ")
        elif line.startswith(f"# TYPE {name} "):
            family["type"] = line.removeprefix(f"# TYPE {name} ")
        elif (match := _SAMPLE.match(line)) and match["name"].startswith(name):
            labels = {key: "<host>" if key in _VOLATILE else value for key, value in _LABEL.findall(match["labels"] or "")}
            written = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
            family["samples"][f"{match['name']}{{{written}}}"] = float(match["value"]) if with_values else "<value>"
    family["samples"] = dict(sorted(family["samples"].items()))
    return family
