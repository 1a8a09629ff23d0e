from __future__ import annotations

import pytest

from flambeau.control.resources.kind import Kind
from flambeau.control.resources.registry import KINDS
from flambeau.foundation.errors import InvalidInput, NotFound


@pytest.mark.parametrize("kind", KINDS.all(), ids=lambda kind: kind.id)
def test_every_kind_is_found_in_every_way(kind: Kind) -> None:
    assert KINDS.by_id(kind.id) is kind
    for version in kind.versions:
        assert KINDS.by_api(kind.group, version, kind.plural) is kind
        api_version = f"{kind.group}/{version}" if kind.group else version
        assert KINDS.by_object({"apiVersion": api_version, "kind": kind.kind}) is kind


@pytest.mark.parametrize("kind", KINDS.all(), ids=lambda kind: kind.id)
def test_every_kind_knows_its_fields(kind: Kind) -> None:
    assert kind.schema is not None
    assert "labels" in kind.schema["properties"]["metadata"]["properties"]
    assert [column.name for column in kind.table_columns].count("Name") == 1


def test_names_people_type() -> None:
    names = [name for kind in KINDS.all() for name in {kind.plural, kind.singular, *kind.short_names}]
    assert {"isvc", "po", "ns", "sa", "cm", "svc", "ev", "vs", "gw", "rev"} <= set(names)
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"services", "service"}, "the core group's come first in discovery; Knative's are reached as ksvc"


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(NotFound, match="inferenceservices"):
        KINDS.by_id("isvc")
    with pytest.raises(NotFound, match="no pods in v2"):
        KINDS.by_api("", "v2", "pods")
    with pytest.raises(InvalidInput, match=r"did you mean serving\.kserve\.io/v1beta1 InferenceService"):
        KINDS.by_object({"apiVersion": "serving.kserve.io/v1alpha2", "kind": "InferenceService"})
    with pytest.raises(InvalidInput, match="no apiVersion or kind"):
        KINDS.by_object({"kind": "Pod"})
