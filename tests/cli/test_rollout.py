"""``flambeau rollout``: what it says of a service and makes of its revisions. With a real platform: ``tests/system/test_canary.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from flambeau.cli import rollout
from flambeau.cli.api import Api, ResourceType
from flambeau.cli.target import Target
from flambeau.foundation.errors import InvalidInput, NotFound, TimedOut

SERVICES = ResourceType("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices", "inferenceservice", (), True, (), ())
REVISIONS = ResourceType("serving.knative.dev", "v1", "Revision", "revisions", "revision", (), True, (), ())
PODS = ResourceType("", "v1", "Pod", "pods", "pod", (), True, (), ())


def revision(number: int, *, base: str = "m-predictor", spec: dict[str, Any] | None = None) -> dict[str, Any]:
    labels = {"serving.knative.dev/configurationGeneration": str(number), "serving.knative.dev/configuration": base}
    annotations = {"flambeau.dev/component-spec": orjson.dumps(spec).decode()} if spec else {}
    metadata = {"name": f"{base}-{number:05d}", "labels": labels, "annotations": annotations, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {"containers": [{"image": "i"}]}, "status": {}}


def service(ready: str = "True", **told: Any) -> dict[str, Any]:
    traffic = [{"revisionName": "m-predictor-00002", "percent": 100, "latestRevision": True}]
    part = {"latestCreatedRevision": "m-predictor-00002", "latestReadyRevision": "m-predictor-00002", "traffic": traffic, **told}
    conditions = [{"type": "Ready", "status": ready, "message": "the moon is wrong"}]
    return {
        "metadata": {"name": "m", "namespace": "ns", "generation": 3, "resourceVersion": "7"},
        "spec": {"predictor": {"minReplicas": 2}},
        "status": {"observedGeneration": 3, "components": {"predictor": part}, "conditions": conditions},
    }


class Server(Target):
    """A server with one service and its revisions; remembers what is written."""

    obj: dict[str, Any]
    revisions: list[dict[str, Any]]
    written: list[Any]

    @classmethod
    def of(cls, obj: dict[str, Any], *revisions: dict[str, Any]) -> Server:
        server = cls(namespace="ns")
        object.__setattr__(server, "obj", obj)
        object.__setattr__(server, "revisions", list(revisions))
        object.__setattr__(server, "written", [])
        return server

    @contextmanager
    def open(self) -> Iterator[Api]:
        def get(path: str, **_: Any) -> dict[str, Any]:
            return {"items": self.revisions} if "/revisions" in path else self.obj

        def request(method: str, path: str, *, body: Any, **_: Any) -> tuple[int, dict[str, Any]]:
            self.written.append((method, path, body))
            return 200, {}

        def type_named(name: str) -> ResourceType:
            return {"pods": PODS, "pod": PODS}.get(name, REVISIONS if "revision" in name else SERVICES)

        yield SimpleNamespace(namespace="ns", get=get, request=request, type_named=type_named, watch=lambda *_, **__: iter(()))  # type: ignore[misc]  # all that the commands ask


def test_status_says_what_serves_or_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert rollout.status("m", target=Server.of(service())) == 0
    assert capsys.readouterr().out == 'isvc "m" successfully rolled out: m-predictor-00002 gets 100 %\n'
    assert rollout.status("isvc/m", watch=False, target=Server.of(service("False"))) == 0
    assert capsys.readouterr().out == "Waiting for m-predictor-00002: the moon is wrong\n"
    unseen = service()
    unseen["metadata"]["generation"] = 4
    with pytest.raises(TimedOut, match="has not been seen yet"):
        rollout.status("m", timeout="50ms", target=Server.of(unseen))
    with pytest.raises(InvalidInput, match="pods are not rolled out here"):
        rollout.status("pod/m", target=Server.of(service()))


def test_undo_goes_back_to_what_was_rolled_out_before(capsys: pytest.CaptureFixture[str]) -> None:
    old = revision(1, spec={"minReplicas": 1, "canaryTrafficPercent": 20})
    rolled = {"latestRolledoutRevision": "m-predictor-00002", "previousRolledoutRevision": "m-predictor-00001"}
    server = Server.of(service(**rolled), revision(2, spec={"minReplicas": 2}), old)
    assert rollout.undo("m", target=server) == 0
    [(method, path, body)] = server.written
    assert (method, path) == ("PATCH", "/apis/serving.kserve.io/v1beta1/namespaces/ns/inferenceservices/m")
    assert body == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/spec/predictor", "value": {"minReplicas": 1}},
    ]
    assert "rolled back to revision 1" in capsys.readouterr().out
    assert rollout.undo("m", to_revision=2, target=server) == 0
    assert "skipped rollback" in capsys.readouterr().out
    assert len(server.written) == 1


def test_undo_of_a_canary_takes_its_share_away() -> None:
    traffic = [
        {"revisionName": "m-predictor-00002", "percent": 20, "latestRevision": True},
        {"revisionName": "m-predictor-00001", "percent": 80, "latestRevision": False},
    ]
    server = Server.of(service(traffic=traffic))
    rollout.undo("m", target=server)
    assert server.written[0][2][1] == {"op": "add", "path": "/spec/predictor/canaryTrafficPercent", "value": 0}


def test_undo_says_what_there_is() -> None:
    with pytest.raises(NotFound, match="no revision 7") as caught:
        rollout.undo("m", to_revision=7, target=Server.of(service(), revision(1), revision(2), revision(9, base="m-blue-predictor")))
    assert caught.value.hint == "there is: 1, 2"
    with pytest.raises(NotFound, match="no earlier revision"):
        rollout.undo("m", target=Server.of(service(latestRolledoutRevision="m-predictor-00002"), revision(2)))
    with pytest.raises(NotFound, match="does not say what it was made from"):
        rollout.undo("m", to_revision=1, target=Server.of(service(), revision(1), revision(2)))


def test_history_for_people_and_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    server = Server.of(service(), revision(2), revision(1))
    rollout.history("m", target=server)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["REVISION", "1", "2"]
    rollout.history("m", output="json", target=server)
    assert [(row["revision"], row["traffic"]) for row in orjson.loads(capsys.readouterr().out)] == [(1, 0), (2, 100)]


def test_restart_needs_the_component() -> None:
    server = Server.of(service())
    rollout.restart("m", target=server)
    assert server.written[0][2][1]["path"] == "/spec/predictor/annotations"
    with pytest.raises(NotFound, match="no transformer"):
        rollout.restart("m", component="transformer", target=server)
