"""The cells of ``kubectl get``, kind by kind."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.resources.kind import Object
from flambeau.control.resources.registry import KINDS

NOW = 1767225600.0
CREATED = "2025-12-31T23:58:30Z"  # 90 s before NOW


def row(kind: str, *, wide: bool = False, **fields: Any) -> dict[str, Any]:
    columns = KINDS.by_id(kind).table_columns
    metadata = {"name": "x", "namespace": "home", "creationTimestamp": CREATED, **fields.pop("metadata", {})}
    obj: Object = {"metadata": metadata, **fields}
    return {column.name: column.cell(obj, NOW) for column in columns if wide or not column.wide}


def test_inference_service_before_and_after_its_first_rollout() -> None:
    empty = dict.fromkeys(("URL", "Ready", "Prev", "Latest", "PrevRolledoutRevision", "LatestReadyRevision"))
    kind = "inferenceservices.serving.kserve.io"
    assert row(kind) == {"Name": "x", **empty, "Age": "90s"}
    traffic = [{"latestRevision": True, "percent": 100, "revisionName": "x-predictor-00001"}]
    status = {
        "url": "http://x.home.localhost:8000",
        "conditions": [{"type": "PredictorReady", "status": "False"}, {"type": "Ready", "status": "True"}],
        "components": {"predictor": {"traffic": traffic}},
    }
    ready = {"URL": "http://x.home.localhost:8000", "Ready": "True", "Latest": 100, "LatestReadyRevision": "x-predictor-00001"}
    assert row(kind, status=status) == {"Name": "x", **empty, **ready, "Age": "90s"}
    traffic[0]["percent"] = 20
    traffic.append({"latestRevision": False, "percent": 80, "revisionName": "x-predictor-00000", "tag": "prev"})
    canary = {**ready, "Latest": 20, "Prev": 80, "PrevRolledoutRevision": "x-predictor-00000"}
    assert row(kind, status=status) == {"Name": "x", **empty, **canary, "Age": "90s"}


@pytest.mark.parametrize(
    ("kind", "fields", "cells"),
    [
        ("namespaces", {}, {"Status": "Active"}),
        ("namespaces", {"status": {"phase": "Terminating"}}, {"Status": "Terminating"}),
        ("secrets", {"type": "Opaque", "data": {"a": "", "b": ""}}, {"Type": "Opaque", "Data": 2}),
        ("secrets", {}, {"Type": "Opaque", "Data": 0}),
        ("serviceaccounts", {"secrets": [{"name": "s3creds"}]}, {"Secrets": 1}),
        ("serviceaccounts", {}, {"Secrets": 0}),
        ("configmaps", {"data": {"a": "b"}, "binaryData": {"c": ""}}, {"Data": 2}),
        ("gateways.networking.istio.io", {}, {}),
        (
            "virtualservices.networking.istio.io",
            {"spec": {"gateways": ["knative-serving/knative-ingress-gateway"], "hosts": ["a", "b"]}},
            {"Gateways": '["knative-serving/knative-ingress-gateway"]', "Hosts": '["a","b"]'},
        ),
        ("virtualservices.networking.istio.io", {"spec": {"hosts": ["a"]}}, {"Gateways": None, "Hosts": '["a"]'}),
        (
            "servingruntimes.serving.kserve.io",
            {"spec": {"supportedModelFormats": [{"name": "pytorch"}, {"name": "onnx"}], "containers": [{"name": "kserve-container"}]}},
            {"Disabled": None, "ModelType": "pytorch", "Containers": "kserve-container"},
        ),
        (
            "services",
            {
                "spec": {"type": "LoadBalancer", "clusterIP": "127.0.0.1", "ports": [{"port": 8000, "nodePort": 8000}, {"port": 1}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}},
            },
            {"Type": "LoadBalancer", "Cluster-IP": "127.0.0.1", "External-IP": "127.0.0.1", "Port(s)": "8000:8000/TCP,1/TCP"},
        ),
        (
            "services",
            {"spec": {"type": "LoadBalancer"}},
            {"Type": "LoadBalancer", "Cluster-IP": "<none>", "External-IP": "<pending>", "Port(s)": "<none>"},
        ),
        (
            "services",
            {"spec": {"type": "ExternalName", "externalName": "a.b"}},
            {"Type": "ExternalName", "Cluster-IP": "<none>", "External-IP": "a.b", "Port(s)": "<none>"},
        ),
    ],
)
def test_other_kinds(kind: str, fields: Any, cells: dict[str, Any]) -> None:
    assert row(kind, **fields) == {"Name": "x", **cells, "Age": "90s"}


def test_revision() -> None:
    labels = {"serving.knative.dev/configuration": "m-predictor", "serving.knative.dev/configurationGeneration": "3"}
    ready = {"type": "Ready", "status": "False", "reason": "ExitCode1"}
    status = {"conditions": [ready], "actualReplicas": 0, "desiredReplicas": 1}
    assert row("revisions.serving.knative.dev", metadata={"labels": labels}, status=status) == {
        "Name": "x",
        "Config Name": "m-predictor",
        "Generation": "3",
        "Ready": "False",
        "Reason": "ExitCode1",
        "Actual Replicas": 0,
        "Desired Replicas": 1,
    }


def test_events_show_their_name_last_and_only_if_asked() -> None:
    fields: dict[str, Any] = {
        "lastTimestamp": CREATED,
        "firstTimestamp": CREATED,
        "type": "Warning",
        "reason": "BackOff",
        "message": "restarting \n",
        "involvedObject": {"kind": "Pod", "name": "p"},
        "source": {"component": "agent"},
        "count": 3,
    }
    narrow = {"Last Seen": "90s", "Type": "Warning", "Reason": "BackOff", "Object": "pod/p", "Message": "restarting"}
    assert row("events", **fields) == narrow
    wide = row("events", wide=True, **fields)
    assert wide == {**narrow, "Subobject": None, "Source": "agent", "First Seen": "90s", "Count": 3, "Name": "x"}
    assert list(wide)[-1] == "Name"
