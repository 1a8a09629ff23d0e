from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flambeau.foundation.errors import NotAllowed
from flambeau.serving.frontends.openapi import OPERATIONS, Operation, describe_doors, describe_management
from flambeau.serving.frontends.routes import Plane, route_of

RECORDED = Path(__file__).parents[2] / "conformance" / "recorded"
"""What TorchServe 0.12.0 answered."""
WITHOUT_EFFECT = {"number_gpu", "timeout", "synchronous"}
"""Parameters that TorchServe describes for scaling and unregistering, and doesn't read there; ours has ``synchronous`` where it counts."""


def recorded(set_up: str, case: str) -> dict[str, list[str]]:
    answers = json.loads((RECORDED / f"{set_up}.json").read_text())
    operations: dict[str, list[str]] = answers[case]["body"]["operations"]
    return operations


def outline(document: dict[str, Any]) -> dict[str, set[str]]:
    return {
        f"{method.upper()} {path}": {each["name"] for each in described["parameters"]}
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    }


@pytest.mark.parametrize(
    ("set_up", "case", "ours"),
    [
        ("inference", "pages/options-root", describe_doors(frozenset({Plane.INFERENCE, Plane.METRICS}))),
        ("inference", "pages/management-openapi", describe_doors(frozenset({Plane.MANAGEMENT, Plane.METRICS}))),
        ("inference", "pages/metrics-openapi", describe_doors(frozenset({Plane.METRICS}))),
        ("kserve", "kserve/openapi", describe_doors(frozenset(Plane))),
        ("management", "management/options-model", describe_management("echo")),
    ],
)
def test_what_the_original_describes_is_described(set_up: str, case: str, ours: dict[str, Any]) -> None:
    # TorchServe describes /metrics on doors that don't serve it; ours only where it is.
    found = outline(ours)
    for operation, parameters in recorded(set_up, case).items():
        assert operation in found
        assert set(parameters) - found[operation] <= WITHOUT_EFFECT, operation


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_what_is_described_is_served(operation: Operation) -> None:
    route = route_of(re.sub(r"\{\w+\}", "x", operation.path).encode())
    assert all(route.is_on(frozenset({plane})) for plane in operation.planes)
    if operation.name not in ("apiDescription", "api-description"):
        try:
            route.check_method(operation.method.upper())
        except NotAllowed:
            pytest.fail(f"{operation.method} {operation.path} is not allowed")


def test_openais_paths_are_described_where_they_are() -> None:
    described = describe_doors(frozenset({Plane.INFERENCE}), "/llm")["paths"]
    assert {path for path in described if "completions" in path} == {"/llm/v1/completions", "/llm/v1/chat/completions"}
    assert "/v1/models/{model_name}:predict" in described


def test_names_are_unique() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
