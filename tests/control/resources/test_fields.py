"""The fields of what people write: put together as meant, and the same as in the definitions of the projects they come from.

The comparison needs a folder of CustomResourceDefinitions (see ``FOLDER``), which this project doesn't carry; without it, it is skipped.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from flambeau.control.resources.fields import containers, inference, pods, words
from flambeau.control.resources.registry import KINDS
from flambeau.control.resources.schema import invalid_values

FOLDER = Path(os.environ.get("FLAMBEAU_TEST_CRDS") or Path(__file__).parents[4] / "shared" / "data" / "crds")
"""KServe's and Istio's definitions: named by FLAMBEAU_TEST_CRDS, or beside the checkout."""


def spec_of(kind: str) -> dict[str, Any]:
    schema = KINDS.by_id(kind).schema
    assert schema is not None
    spec: dict[str, Any] = schema["properties"]["spec"]
    return spec


class TestWords:
    @pytest.mark.parametrize("amount", [2, "2", "500m", "1.5Gi", ".5", "5.", "1e3", "1E-3", "-1k", "+1"])
    def test_amounts(self, amount: Any) -> None:
        assert list(invalid_values(amount, words.QUANTITY)) == []

    @pytest.mark.parametrize("amount", [1.5, True, None, "", "1 Gi", "1GiB", "Gi", "0x1", "1K", "."])
    def test_no_amounts(self, amount: Any) -> None:
        assert list(invalid_values(amount, words.QUANTITY)) != []

    def test_lists_say_how_patches_change_them(self) -> None:
        by_name = words.list_of(words.STRING, keys=("name",))
        assert (by_name["x-kubernetes-list-type"], by_name["x-kubernetes-list-map-keys"]) == ("map", ["name"])
        assert words.whole_list_of(words.STRING)["x-kubernetes-list-type"] == "atomic"
        assert words.set_of(words.STRING)["x-kubernetes-list-type"] == "set"

    def test_at_most_one_of_several_fields(self) -> None:
        ways = words.fields("exact", "prefix", of=words.STRING)
        schema = {**words.an_object(ways), **words.at_most_one(ways)}
        assert [list(invalid_values(value, schema)) for value in ({}, {"exact": "a"}, {"prefix": "a"})] == [[], [], []]
        assert list(invalid_values({"exact": "a", "prefix": "b"}, schema)) != []


class TestTypes:
    def test_a_type_used_twice_is_the_same_in_memory(self) -> None:
        spec = spec_of("inferenceservices.serving.kserve.io")["properties"]
        predictor, transformer = spec["predictor"]["properties"], spec["transformer"]["properties"]
        assert predictor["volumes"] is transformer["volumes"] is spec_of("pods")["properties"]["volumes"]
        assert predictor["model"]["properties"]["env"]["items"] is containers.ENVIRONMENT_VARIABLE

    @pytest.mark.parametrize(
        "path",
        [
            "",
            *("predictor", "transformer", "explainer", "predictor.model", "predictor.pytorch", "predictor.containers"),
            *(
                f"predictor.model.{field}"
                for field in ("modelFormat", "storageUri", "storage", "runtime", "protocolVersion", "args", "env")
            ),
            *(f"predictor.{field}" for field in ("serviceAccountName", "storageUris", *inference.COMPONENT_FIELDS)),
            *("predictor.logger.url", "predictor.logger.mode", "predictor.batcher.maxBatchSize", "predictor.batcher.maxLatency"),
        ],
    )
    def test_explain_has_something_to_say(self, path: str) -> None:
        schema = spec_of("inferenceservices.serving.kserve.io")
        for field in filter(None, path.split(".")):
            schema = schema["properties"][field]
        assert schema["description"].endswith(".")

    def test_a_servers_probe_may_leave_out_its_port_and_a_pods_may_not(self) -> None:
        container = {"name": "c", "readinessProbe": {"httpGet": {"path": "/ready"}}}
        assert list(invalid_values({"containers": [container]}, inference.PREDICTOR)) == []
        (finding,) = invalid_values({"containers": [container]}, words.an_object(pods.POD_FIELDS))
        assert finding.path == "containers[0].readinessProbe.httpGet.port"


# -- the comparison --

DEFINITIONS = {
    "inferenceservices.serving.kserve.io": ("serving.kserve.io_inferenceservices.yaml", "v1beta1"),
    "servingruntimes.serving.kserve.io": ("serving.kserve.io_servingruntimes.yaml", "v1alpha1"),
    "clusterservingruntimes.serving.kserve.io": ("serving.kserve.io_clusterservingruntimes.yaml", "v1alpha1"),
    "virtualservices.networking.istio.io": ("istio_virtualservice.yaml", "v1beta1"),
}

ADDED = {
    "virtualservices.networking.istio.io": {
        "spec.http[].corsPolicy.unmatchedPreflights",
        "spec.http[].directResponse",
        "spec.http[].match[].statPrefix",
        "spec.http[].mirrors",
        "spec.http[].redirect oneOf",
        "spec.http[].redirect.derivePort",
        "spec.http[].redirect.port",
        "spec.http[].redirect.scheme",
        "spec.http[].retries.backoff",
        "spec.http[].retries.retryIgnorePreviousHosts",
        "spec.http[].rewrite.uriRegexRewrite",
    }
}
"""Fields of newer Istio versions than the one the definition is of, and what rules there are about them."""

NOT_COMPARED = frozenset(("description", "title", "x-kubernetes-validations", "x-kubernetes-map-type"))
"""Texts are our own; CEL rules are the checks of each kind, with their own tests; how maps merge is told by ``list_keys``."""

NUMBER_FORMATS = ("int32", "int64", "float", "double")


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"there are no definitions in {FOLDER}: name their folder in FLAMBEAU_TEST_CRDS")
@pytest.mark.parametrize("kind", DEFINITIONS)
def test_fields_are_those_of_the_definition(kind: str) -> None:
    file, version = DEFINITIONS[kind]
    definition = yaml.load((FOLDER / file).read_text(), Loader=yaml.CSafeLoader)
    served = next(entry for entry in definition["spec"]["versions"] if entry["name"] == version)
    theirs = served["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found = set(differences(theirs, spec_of(kind), "spec"))
    assert found == ADDED.get(kind, set())


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield ``path`` for each field that only one side has, and ``path word`` for each word that differs, in both directions."""
    their_fields, our_fields = theirs.get("properties", {}), ours.get("properties", {})
    for name in {**their_fields, **our_fields}:
        if name in their_fields and name in our_fields:
            yield from differences(their_fields[name], our_fields[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}"
    their_words, our_words = compared(theirs), compared(ours)
    for word in {**their_words, **our_words}:
        their, our = their_words.get(word), our_words.get(word)
        if word in ("items", "additionalProperties") and isinstance(their, dict) and isinstance(our, dict):
            yield from differences(their, our, f"{path}[]")
        elif word == "pattern" and isinstance(their, str) and isinstance(our, str):
            if not mean_the_same(their, our):
                yield f"{path} pattern"
        elif their != our:
            yield f"{path} {word}"


def compared(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a schema says beside its fields, in one form."""
    said = {word: value for word, value in schema.items() if word not in NOT_COMPARED and word != "properties"}
    if said.get("format") not in NUMBER_FORMATS:
        said.pop("format", None)
    if said.get("x-kubernetes-int-or-string"):
        assert said.pop("anyOf", None) in (None, [{"type": "integer"}, {"type": "string"}])
    for word in ("required", "enum"):
        if word in said:
            said[word] = sorted(said[word])
    return said


@functools.cache
def mean_the_same(theirs: str, ours: str) -> bool:
    """Tell whether two patterns take the same of all short texts of telling characters."""
    texts = ("".join(characters) for size in range(6) for characters in itertools.product("aK1-+.emi/", repeat=size))
    return all(bool(re.search(theirs, text)) == bool(re.search(ours, text)) for text in texts)


def test_the_comparison_finds_what_differs() -> None:
    theirs = {
        "required": ["a", "b"],
        "properties": {
            "a": {"type": "string", "pattern": "^/.*"},
            "b": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "integer", "format": "int32"}}}},
            "d": {"type": "string", "enum": ["x", "y"]},
            "f": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    ours = {
        "required": ["b"],
        "properties": {
            "a": {"type": "string", "pattern": "^//", "description": "ours"},
            "b": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "integer"}}}},
            "e": {"type": "string"},
            "f": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    assert set(differences(theirs, theirs, "")) == set()
    expected = {" required", ".a pattern", ".b[].c format", ".d", ".e"}
    assert set(differences(theirs, ours, "")) == expected | {".f additionalProperties", ".f x-kubernetes-preserve-unknown-fields"}
