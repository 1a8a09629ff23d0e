from __future__ import annotations

from pathlib import Path

from flambeau.control.resources.admission import BUILT_IN_LABEL
from flambeau.control.resources.builtin import builtin_objects
from flambeau.control.resources.images import stands_for_own_command
from flambeau.control.store.sqlite import SqliteStore


async def test_they_can_be_created_in_order(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "store.db")
    for obj in builtin_objects(gateway_port=8123):
        await store.create(obj)
    accounts = (await store.list("serviceaccounts")).items
    assert [account["metadata"]["namespace"] for account in accounts] == sorted(
        ["default", "kube-system", "kserve", "istio-system", "knative-serving"]
    )
    store.close()


def test_tutorial_commands_find_the_gateway() -> None:
    (service,) = (obj for obj in builtin_objects(gateway_port=8123, gateway_host="10.0.0.1") if obj["kind"] == "Service")
    (port,) = (port for port in service["spec"]["ports"] if port["name"] == "http2")
    assert (port["nodePort"], port["port"]) == (8123, 8123)
    assert service["status"]["loadBalancer"]["ingress"] == [{"ip": "10.0.0.1"}]
    assert service["metadata"]["labels"][BUILT_IN_LABEL] == "true"


def test_definitions_name_the_kinds_that_a_cluster_has_after_something_was_installed() -> None:
    definitions = {obj["metadata"]["name"]: obj for obj in builtin_objects(gateway_port=1) if obj["kind"] == "CustomResourceDefinition"}
    assert {"revisions.serving.knative.dev", "virtualservices.networking.istio.io"} <= set(definitions)
    assert "deployments.apps" not in definitions
    service = definitions["inferenceservices.serving.kserve.io"]
    assert (service["spec"]["scope"], service["spec"]["names"]["shortNames"]) == ("Namespaced", ["isvc"])
    assert [version["name"] for version in service["spec"]["versions"] if version["storage"]] == ["v1beta1"]
    assert {condition["type"] for condition in service["status"]["conditions"]} == {"Established", "NamesAccepted"}


def test_images_that_are_ours() -> None:
    for image in ("pytorch/torchserve-kfs:0.9.0", "docker.io/pytorch/torchserve:latest", "flambeau/serve", "localhost:5000/flambeau/serve"):
        assert stands_for_own_command(image), image
    for image in ("nginx", "pytorch/pytorch", "flambeau", "evil/pytorch/torchserve", "x.io/a/flambeau/b"):
        assert not stands_for_own_command(image), image
