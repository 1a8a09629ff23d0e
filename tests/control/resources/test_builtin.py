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


def test_images_that_are_ours() -> None:
    for image in ("pytorch/torchserve-kfs:0.9.0", "docker.io/pytorch/torchserve:latest", "flambeau/serve", "localhost:5000/flambeau/serve"):
        assert stands_for_own_command(image), image
    for image in ("nginx", "pytorch/pytorch", "flambeau", "evil/pytorch/torchserve", "x.io/a/flambeau/b"):
        assert not stands_for_own_command(image), image
