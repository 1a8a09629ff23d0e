"""The packaged schemas, and whether they still are what the kinds' definitions say.

The second part needs a folder of CustomResourceDefinitions, named by FLAMBEAU_TEST_CRDS; without it, it is skipped.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

import pytest

from flambeau.control.resources.registry import KINDS
from flambeau.control.resources.schema_files import described, packaged

TOOL = Path(__file__).parents[3] / "tools" / "strip_crds.py"
FOLDER = os.environ.get("FLAMBEAU_TEST_CRDS", "")


def test_equal_parts_are_the_same_in_memory() -> None:
    spec = packaged("inferenceservices")["properties"]
    predictor, transformer = spec["predictor"]["properties"], spec["transformer"]["properties"]
    assert predictor["volumes"] is transformer["volumes"]


def test_explanations_do_not_touch_what_is_shared() -> None:
    schema: Any = {"properties": {"a": {"properties": {"b": {"type": "string"}}}, "c": {"type": "integer"}}}
    explained = described(schema, {"": "top", "a.b": "deep"})
    assert explained["description"] == "top"
    assert explained["properties"]["a"]["properties"]["b"] == {"type": "string", "description": "deep"}
    assert "description" not in schema["properties"]["a"]["properties"]["b"]
    assert explained["properties"]["c"] is schema["properties"]["c"]


def test_explain_has_something_to_say() -> None:
    schema = KINDS.by_id("inferenceservices.serving.kserve.io").schema
    assert schema is not None
    model = schema["properties"]["spec"]["properties"]["predictor"]["properties"]["model"]["properties"]
    assert "s3://" in model["storageUri"]["description"]


@pytest.mark.skipif(not FOLDER, reason="FLAMBEAU_TEST_CRDS names no folder of CustomResourceDefinitions")
@pytest.mark.parametrize("name", ["inferenceservices", "servingruntimes", "virtualservices"])
def test_every_field_of_the_definitions_is_known(name: str) -> None:
    import yaml  # noqa: PLC0415 - only where the folder is

    tool = runpy.run_path(str(TOOL))
    file, version = tool["SOURCES"][name]
    definition = yaml.load((Path(FOLDER) / file).read_text(), Loader=yaml.CSafeLoader)
    served = next(entry for entry in definition["spec"]["versions"] if entry["name"] == version)
    assert packaged(name) == tool["strip"](served["schema"]["openAPIV3Schema"]["properties"]["spec"])
