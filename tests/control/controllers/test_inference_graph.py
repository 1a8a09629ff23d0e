"""A graph's router: its template, its revisions, its status."""

from __future__ import annotations

import json
from typing import Any

from flambeau.control.controllers.hosts import Site
from flambeau.control.controllers.inference_graph.desired import plan
from flambeau.control.controllers.inference_graph.status import View, graph_status
from flambeau.control.controllers.inference_graph.template import Services, configuration_of, services_of, template_for
from flambeau.control.resources.kind import Object

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
PLAIN = configuration_of(None)
ALL_THERE = Services({}, (), ())
GATEWAY = "http://127.0.0.1:8000"


def graph(*steps: Object, status: Object | None = None, **spec: Any) -> Object:
    nodes = {"root": {"routerType": "Sequence", "steps": list(steps)}}
    metadata = {"name": "g", "namespace": "ns", "uid": "u", "labels": {"team": "a"}, "annotations": {"note": "b"}}
    made = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "InferenceGraph", "metadata": metadata, "spec": {"nodes": nodes, **spec}}
    return made | ({"status": status} if status else {})


def service(name: str, predictor: Object, status: Object | None = None) -> Object:
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"predictor": predictor}, "status": READY if status is None else status}


def urls(*services: Object, runtimes: Object | None = None) -> list[str]:
    steps = [{"serviceName": each["metadata"]["name"]} for each in services]
    return [url.partition("svc.cluster.local")[2] for url in services_of(graph(*steps), services, runtimes or {}).urls.values()]


class TestServices:
    def test_the_protocol_decides_the_path(self) -> None:
        model = {"modelFormat": {"name": "pytorch"}}
        assert urls(service("a", {"model": model})) == ["/v1/models/a:predict"]
        assert urls(service("a", {"model": {**model, "protocolVersion": "v2"}})) == ["/v2/models/a/infer"]
        assert urls(service("a", {"containers": [{"env": [{"name": "PROTOCOL", "value": "v2"}]}]})) == ["/v2/models/a/infer"]
        assert urls(service("a", {"containers": [{}]})) == ["/v1/models/a:predict"]

    def test_a_runtime_that_speaks_only_v2_decides_too(self) -> None:
        runtime = {"metadata": {"name": "kserve-mlserver"}, "spec": {"protocolVersions": ["v2"]}}
        told = {**READY, "clusterServingRuntimeName": "kserve-mlserver"}
        assert urls(service("a", {"model": {}}, told), runtimes={"kserve-mlserver": runtime}) == ["/v2/models/a/infer"]

    def test_what_is_missing_and_what_is_not_ready(self) -> None:
        waiting = {"conditions": [{"type": "Ready", "status": "False", "message": "it is broken"}]}
        found = services_of(graph({"serviceName": "a"}, {"serviceName": "b"}), [service("a", {"model": {}}, waiting)], {})
        assert found.missing == ("b",)
        assert found.unready == ("InferenceService a is not ready: it is broken",)


class TestTemplate:
    def template(self, made: Object, config: Object | None = None) -> Object:
        services = Services({"a": "http://a.ns.svc.cluster.local/v1/models/a:predict"}, (), ())
        return template_for(made, services, configuration_of(config), GATEWAY)

    def flags(self, template: Object) -> dict[str, str]:
        words = template["spec"]["containers"][0]["args"]
        return dict(zip(words[::2], words[1::2], strict=True))

    def test_names_become_urls(self) -> None:
        flags = self.flags(self.template(graph({"serviceName": "a", "dependency": "Hard"}, {"serviceUrl": "http://x/"})))
        steps = json.loads(flags["--graph-json"])["nodes"]["root"]["steps"]
        assert steps == [
            {"serviceUrl": "http://a.ns.svc.cluster.local/v1/models/a:predict", "dependency": "Hard"},
            {"serviceUrl": "http://x/"},
        ]
        assert (flags["--gateway"], flags["--timeout"]) == (GATEWAY, "300")

    def test_timeouts(self) -> None:
        timeouts = {"serverRead": 1, "serverWrite": 20, "serverIdle": 3, "serviceClient": 4}
        template = self.template(graph({"serviceName": "a"}, timeout=100, routerTimeouts=timeouts))
        flags = self.flags(template)
        own = ("--timeout", "--read-timeout", "--idle-timeout", "--call-timeout")
        assert [flags[name] for name in own] == ["20", "1", "3", "4"]
        assert template["spec"]["timeoutSeconds"] == 100

    def test_scaling_labels_and_pod_fields(self) -> None:
        template = self.template(
            graph({"serviceName": "a"}, minReplicas=0, maxReplicas=3, scaleTarget=5, nodeName="n", serviceAccountName="s")
        )
        annotations, labels = template["metadata"]["annotations"], template["metadata"]["labels"]
        scale = {name.rpartition("/")[2]: value for name, value in annotations.items() if name.startswith("autoscaling")}
        assert scale == {"class": "kpa.autoscaling.knative.dev", "min-scale": "0", "max-scale": "3", "target": "5"}
        assert labels == {"team": "a", "serving.kserve.io/inferencegraph": "g"}
        assert (template["spec"]["nodeName"], template["spec"]["serviceAccountName"]) == ("n", "s")

    def test_the_configuration(self) -> None:
        router = {"headers": {"propagate": ["X-A", "X-B.*"]}, "memoryLimit": "2Gi"}
        container = self.template(graph({"serviceName": "a"}), {"data": {"router": json.dumps(router)}})["spec"]["containers"][0]
        assert container["env"] == [{"name": "PROPAGATE_HEADERS", "value": "X-A,X-B.*"}]
        assert container["resources"] == {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
        own = self.template(graph({"serviceName": "a"}, resources={"limits": {"cpu": "3"}}))["spec"]["containers"][0]
        assert own["resources"] == {"limits": {"cpu": "3"}}

    def test_a_configuration_that_cannot_be_read_says_nothing(self) -> None:
        assert configuration_of({"data": {"router": "{"}}) == PLAIN
        assert configuration_of({"data": {"router": "[]"}}) == PLAIN


def template(word: str = "a") -> Object:
    return {"metadata": {"labels": {}, "annotations": {}}, "spec": {"containers": [{"name": word}]}}


def revision(made: Object, number: int, word: str, *, ready: bool) -> Object:
    new = plan(made, template(word), []).create
    assert new is not None
    new["metadata"]["name"] = f"g-{number:05d}"
    new["status"] = {"conditions": [{"type": "Ready", "status": str(ready), "message": "it loads"}], "actualReplicas": int(ready)}
    return new


class TestRevisions:
    def test_the_first_is_made_and_answers_when_it_is_ready(self) -> None:
        first = plan(graph(), template(), [])
        assert first.create is not None
        assert (first.create["metadata"]["name"], first.latest, first.serving) == ("g-00001", "g-00001", "")
        assert first.create["metadata"]["ownerReferences"][0]["kind"] == "InferenceGraph"
        ready = plan(graph(), template(), [revision(graph(), 1, "a", ready=True)])
        assert (ready.create, ready.serving, ready.delete) == (None, "g-00001", ())

    def test_the_old_one_answers_until_the_new_one_can(self) -> None:
        told = graph(status={"traffic": [{"revisionName": "g-00001", "percent": 100}]})
        old, new = revision(told, 1, "a", ready=True), revision(told, 2, "b", ready=False)
        changed = plan(told, template("b"), [old])
        assert (changed.latest, changed.serving, changed.delete) == ("g-00002", "g-00001", ())
        waiting = plan(told, template("b"), [old, new])
        assert (waiting.create, waiting.serving, waiting.delete) == (None, "g-00001", ())
        done = plan(told, template("b"), [old, revision(told, 2, "b", ready=True)])
        assert (done.serving, done.delete) == ("g-00002", ("g-00001",))

    def test_without_a_template_what_is_there_goes_on(self) -> None:
        kept = plan(graph(), None, [revision(graph(), 1, "a", ready=True)])
        assert (kept.create, kept.latest, kept.serving, kept.delete) == (None, "g-00001", "g-00001", ())


class TestStatus:
    def told(self, made: Object, *, services: Services = ALL_THERE, ready: bool = True, taken: bool = False) -> dict[str, Object]:
        revisions = [revision(made, 1, "a", ready=ready)]
        status = graph_status(View(made, plan(made, template(), revisions), revisions, services, taken), Site(), 0.0)
        return {condition["type"]: condition for condition in status["conditions"]} | {"status": status}

    def test_ready_when_all_is(self) -> None:
        routed = graph(status={"conditions": [{"type": "IngressReady", "status": "True"}]})
        told = self.told(routed)
        assert told["Ready"]["status"] == "True"
        assert told["status"]["url"] == "http://g.ns.localhost:8000"
        assert told["status"]["traffic"] == [{"latestRevision": True, "percent": 100, "revisionName": "g-00001"}]

    def test_what_is_missing_is_the_reason(self) -> None:
        routed = graph(status={"conditions": [{"type": "IngressReady", "status": "True"}]})
        assert self.told(graph())["Ready"]["reason"] == "IngressNotConfigured"
        assert self.told(routed, ready=False)["Ready"]["message"] == "it loads"
        assert "no InferenceService a" in self.told(routed, services=Services({}, ("a",), ()))["Ready"]["message"]
        assert self.told(routed, services=Services({}, (), ("a is not ready",)))["Ready"]["reason"] == "ServiceNotReady"
        assert self.told(routed, taken=True)["Ready"]["reason"] == "NameTaken"
        assert "url" not in self.told(graph(), ready=False)["status"]
