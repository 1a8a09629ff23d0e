"""Which TrainedModels are to be loaded, and what their status says."""

from __future__ import annotations

from typing import Any

from flambeau.control.controllers.hosts import Site
from flambeau.control.controllers.trained_model.desired import Judged, judge, wanted_of
from flambeau.control.controllers.trained_model.status import model_status
from flambeau.control.resources.kind import Object
from flambeau.control.resources.trained_models import (
    LOADED_ANNOTATION,
    Loaded,
    Wanted,
    config_data,
    config_name,
    loaded_of,
    loaded_text,
    service_of_config,
    to_load,
    to_unload,
)

RUNTIME: Object = {"metadata": {"name": "r"}, "spec": {"supportedModelFormats": [{"name": "pytorch"}, {"name": "onnx"}]}}
SERVER: Object = {"image": "pytorch/torchserve:1", "resources": {"limits": {"memory": "2Gi"}}}
READY: Object = {"conditions": [{"type": "Ready", "status": "True"}]}
SERVICE: Object = {"metadata": {"name": "s", "namespace": "ns"}, "status": READY}
MODEL = Wanted("m", "s3://bucket/m", "pytorch", "1Gi")


def trained(name: str = "m", *, memory: str = "1Gi", framework: str = "pytorch", created: int = 0, **status: Any) -> Object:
    metadata = {"name": name, "namespace": "ns", "creationTimestamp": f"2026-01-01T00:00:{created:02d}Z"}
    model = {"storageUri": "s3://bucket/m", "framework": framework, "memory": memory}
    return {"metadata": metadata, "spec": {"inferenceService": "s", "model": model}, "status": status}


def pod(loaded: dict[str, Loaded] | None = None, *, restarts: int = 0) -> Object:
    annotations = {LOADED_ANNOTATION: loaded_text(loaded)} if loaded else {}
    return {"metadata": {"name": "p", "annotations": annotations}, "status": {**READY, "containerStatuses": [{"restartCount": restarts}]}}


def config(*models: Wanted) -> Object:
    return {"data": config_data(models)}


class TestPods:
    def test_what_is_not_there_is_loaded(self) -> None:
        assert to_load(pod(), config(MODEL)) == [MODEL]
        assert to_load(pod({"m": Loaded(MODEL.uri, 0)}), config(MODEL)) == []
        assert to_load(pod({"m": Loaded(MODEL.uri, 0, "it failed")}), config(MODEL)) == [MODEL]
        assert to_load(pod({"m": Loaded(MODEL.uri, 0)}, restarts=1), config(MODEL)) == [MODEL]
        assert to_load(pod({"m": Loaded("s3://bucket/old", 0)}), config(MODEL)) == [MODEL]

    def test_what_is_not_wanted_is_unloaded(self) -> None:
        loaded = {"m": Loaded(MODEL.uri, 0), "gone": Loaded("s3://bucket/gone", 0)}
        assert to_unload(pod(loaded), config(MODEL)) == ["gone"]
        assert to_unload(pod({"m": Loaded("s3://bucket/old", 0)}), config(MODEL)) == ["m"]
        assert to_unload(pod(loaded), None) == ["gone", "m"]
        assert to_unload(pod(), config(MODEL)) == []

    def test_notes_that_cannot_be_read_say_nothing(self) -> None:
        for text in ("", "{", "[]", '{"m":1}', '{"m":{"other":1}}'):
            assert loaded_of({"metadata": {"annotations": {LOADED_ANNOTATION: text}}}) == {}
        assert to_load(pod(), {"data": {"models.json": "{"}}) == []
        assert to_load(pod(), {"data": {"models.json": '{"a":1}'}}) == []

    def test_names_of_config_maps(self) -> None:
        assert service_of_config(config_name("s")) == "s"
        assert service_of_config("other") == service_of_config("modelconfig-s") == ""


class TestVerdicts:
    def reasons(self, judged: Judged) -> list[str]:
        return [reason for reason, _ in (judged.framework, judged.service, judged.server, judged.memory) if reason]

    def test_a_model_that_fits(self) -> None:
        judged = judge([trained()], SERVICE, RUNTIME, SERVER)
        assert self.reasons(judged[0]) == []
        assert wanted_of(judged) == [MODEL]

    def test_the_oldest_has_the_memory(self) -> None:
        judged = judge([trained("late", created=2), trained("early", created=1, memory="1500Mi")], SERVICE, RUNTIME, SERVER)
        assert [(each.model["metadata"]["name"], self.reasons(each)) for each in judged] == [
            ("early", []),
            ("late", ["MemoryNotAvailable"]),
        ]
        assert [each.name for each in wanted_of(judged)] == ["early"]

    def test_without_a_limit_there_is_memory(self) -> None:
        assert self.reasons(judge([trained(memory="900Gi")], SERVICE, RUNTIME, {"image": "pytorch/torchserve"})[0]) == []

    def test_the_framework_is_the_runtimes(self) -> None:
        (judged,) = judge([trained(framework="cobol")], SERVICE, RUNTIME, SERVER)
        assert judged.framework == ("FrameworkNotSupported", "the runtime r does not support cobol; it supports onnx, pytorch")

    def test_the_service_is_there_and_ready(self) -> None:
        assert self.reasons(judge([trained()], None, None, None)[0]) == ["InferenceServiceNotFound"]
        waiting = {**SERVICE, "status": {"conditions": [{"type": "Ready", "status": "False", "message": "broken"}]}}
        (judged,) = judge([trained()], waiting, RUNTIME, SERVER)
        assert self.reasons(judged) == ["InferenceServiceNotReady"]
        assert judged.is_wanted, "its pods load it while the service gets ready"

    def test_the_server_takes_models(self) -> None:
        assert self.reasons(judge([trained()], SERVICE, None, {"command": ["python3"], "image": "mine"})[0]) == ["IsNotMMSPredictor"]
        assert self.reasons(judge([trained()], SERVICE, None, {"args": ["/usr/bin/torchserve"], "image": "mine"})[0]) == []


class TestStatus:
    def ready(self, pods: list[Object], model: Object | None = None) -> Object:
        (judged,) = judge([model or trained()], SERVICE, RUNTIME, SERVER)
        status = model_status(judged, pods, Site(), 0.0)
        return {**next(each for each in status["conditions"] if each["type"] == "Ready"), "url": status.get("url")}

    def test_ready_when_every_pod_has_it(self) -> None:
        have, have_not = pod({"m": Loaded(MODEL.uri, 0)}), pod()
        assert self.ready([have, have])["status"] == "True"
        assert self.ready([have])["url"] == "http://s.ns.localhost:8000/v1/models/m:predict"
        waiting = self.ready([have, have_not])
        assert (waiting["status"], waiting["message"], waiting["url"]) == ("Unknown", "1 of 2 pods have loaded it", None)

    def test_a_failure_is_told(self) -> None:
        assert self.ready([pod({"m": Loaded(MODEL.uri, 0, "no such file")})])["message"] == "no such file"

    def test_a_service_that_sleeps_takes_nothing_away(self) -> None:
        assert self.ready([])["reason"] == "NoReadyPods"
        assert self.ready([], trained(**READY))["status"] == "True"

    def test_a_verdict_comes_first(self) -> None:
        (judged,) = judge([trained(framework="cobol")], SERVICE, RUNTIME, SERVER)
        told = {each["type"]: each["status"] for each in model_status(judged, [], Site(), 0.0)["conditions"]}
        expected = {"FrameworkSupported": "False", "InferenceServiceReady": "True", "IsMMSPredictor": "True"}
        assert told == expected | {"MemoryResourceAvailable": "True", "Ready": "False"}
