"""What a pod's initializer fetches, as whom, and where it goes."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from flambeau.control.agent.directory import PodDirectory, PodId
from flambeau.control.agent.fetching import fetch_models, release, sources_of
from flambeau.control.agent.runner import Agent
from flambeau.control.resources.kind import Key, Object
from flambeau.foundation.errors import FlambeauError, InvalidInput, NotFound, Unavailable
from flambeau.storage import download, objects
from flambeau.storage.cache import Cache
from flambeau.storage.storage_spec import PLACEHOLDER_SCHEME
from flambeau.storage.unpacked import keep
from tests.control.agent.world import World, condition, is_ready
from tests.fixtures.faulty_proxy import FaultyProxy
from tests.fixtures.s3 import S3Server


@pytest.fixture
def cache(world: World) -> Cache:
    return Cache(world.home / "cache", 1 << 30)


def pod_for(*words: str, annotations: dict[str, str] | None = None, place: str = "/mnt/models") -> Object:
    initializer = {"name": "storage-initializer", "args": list(words), "volumeMounts": [{"name": "v", "mountPath": place}]}
    metadata = {"name": "p", "namespace": "ns", "uid": "u", "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "kserve-container"}], "initContainers": [initializer]}}


async def bring(world: World, cache: Cache, pod: Object) -> Path:
    directory = PodDirectory(world.home / "pods", PodId.of(pod))
    directory.create()
    await fetch_models(pod, directory, store=world.store, cache=cache, clock=world.clock, tell=lambda words: None)
    return directory.model


async def create(world: World, kind: str, name: str, namespace: str = "ns", version: str = "v1", **fields: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **fields.pop("metadata", {})}
    return await world.store.create({"apiVersion": version, "kind": kind, "metadata": metadata, **fields})


def model(world: World, name: str, **files: str) -> str:
    for file, text in files.items():
        path = world.home / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return f"file://{world.home / name}"


def encoded(**values: str) -> dict[str, str]:
    return {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}


def test_the_initializers_arguments_are_pairs() -> None:
    pod = pod_for("s3://a/b", "/mnt/models/one", "hf://c/d", "/mnt/models/two/three", place="/mnt/models")
    assert sources_of(pod) == [("s3://a/b", PurePosixPath("one")), ("hf://c/d", PurePosixPath("two/three"))]
    assert sources_of(pod_for("s3://a/b", "/mnt/models")) == [("s3://a/b", PurePosixPath("."))]
    assert sources_of({"spec": {}}) == []


async def test_several_models_go_to_their_places(world: World, cache: Cache) -> None:
    await create(world, "ServiceAccount", "default")
    first, second, third = (model(world, name, weights=name) for name in ("a", "b", "c"))
    pod = pod_for(first, "/mnt/models/x", second, "/mnt/models/y/z", third, "/mnt/models/x/in", place="/mnt/models")
    top = await bring(world, cache, pod)
    found = {str(path.relative_to(top)): path.read_text() for path in top.rglob("weights")}
    assert found == {"x/weights": "a", "y/z/weights": "b", "x/in/weights": "c"}
    assert len(cache.leases()) == 3
    release(cache, "u")
    assert cache.leases() == {}
    again = await bring(world, cache, pod_for(first, "/mnt/models"))
    assert (again / "weights").read_text() == "a"
    assert again.is_symlink()


async def test_two_models_with_the_same_file_in_one_place_are_refused(world: World, cache: Cache) -> None:
    await create(world, "ServiceAccount", "default")
    words = [word for name in ("a", "b") for word in (model(world, name, weights=name), "/mnt/models")]
    with pytest.raises(InvalidInput) as caught:
        await bring(world, cache, pod_for(*words))
    assert caught.value.reason == "ModelFilesCollide"


async def test_a_claim_is_a_folder_that_the_agent_makes(world: World, cache: Cache) -> None:
    await create(world, "ServiceAccount", "default")
    with pytest.raises(NotFound, match="no claim weights in namespace ns") as caught:
        await bring(world, cache, pod_for("pvc://weights/m", "/mnt/models"))
    assert caught.value.reason == "ClaimNotFound"
    await world.agent()
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await create(world, "PersistentVolumeClaim", "weights", spec=spec)

    async def bound() -> bool:
        claim = await world.store.get(Key("persistentvolumeclaims", "ns", "weights"))
        return (claim.get("status") or {}).get("phase") == "Bound"

    await world.eventually(bound)
    model(world, "volumes/ns/weights/m", file="there")
    assert ((await bring(world, cache, pod_for("pvc://weights/m", "/mnt/models"))) / "file").read_text() == "there"


FETCHER = """
import os, pathlib, sys
uri, folder = sys.argv[-2:]
print("fetching", uri, flush=True)
if uri.endswith("broken"):
    sys.exit("no such model")
pathlib.Path(folder, "deep").mkdir()
pathlib.Path(folder, "deep", "weights").write_text(f"{uri} {os.environ['HF_TOKEN']} {os.environ['MIRROR']}")
"""


async def test_a_command_of_ones_own_fetches(world: World, cache: Cache) -> None:
    await create(world, "ServiceAccount", "default", secrets=[{"name": "s"}])
    await create(world, "Secret", "s", data=encoded(HF_TOKEN="t"))
    container = {"name": "f", "image": "i", "command": [sys.executable, "-c", FETCHER], "env": [{"name": "MIRROR", "value": "m"}]}
    spec = {"container": container, "supportedUriFormats": [{"prefix": "mine://"}]}
    await create(world, "ClusterStorageContainer", "mine", "", "serving.kserve.io/v1alpha1", spec=spec)
    top = await bring(world, cache, pod_for("mine://a/b", "/mnt/models"))
    assert (top / "deep" / "weights").read_text() == "mine://a/b t m"
    with pytest.raises(Unavailable, match=r"ClusterStorageContainer mine ended with exit code 1: .*no such model") as caught:
        await bring(world, cache, pod_for("mine://a/broken", "/mnt/models"))
    assert caught.value.reason == "FetcherFailed"
    assert not list(cache.folder("staging").iterdir())


def storage_key(server: S3Server, **more: str) -> str:
    keys = {"access_key_id": server.access_key, "secret_access_key": server.secret_key, "endpoint_url": server.endpoint}
    return json.dumps({"type": "s3", "region": server.region, **keys, **more})


async def test_a_storage_key_is_read(world: World, cache: Cache, s3_server: S3Server) -> None:
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, "m/weights", b"1")
    secret = await create(world, "Secret", "storage-config", data=encoded(mine=storage_key(s3_server, bucket="other")))
    annotations = {
        "internal.serving.kserve.io/storage-spec-key": "mine",
        "internal.serving.kserve.io/storage-spec-param": json.dumps({"bucket": bucket}),
    }
    pod = pod_for(f"{PLACEHOLDER_SCHEME}m", "/mnt/models", annotations=annotations)
    assert ((await bring(world, cache, pod)) / "weights").read_bytes() == b"1"
    annotations["internal.serving.kserve.io/storage-spec-key"] = "absent"
    with pytest.raises(NotFound, match="storage key absent in secret ns/storage-config: its keys are mine"):
        await bring(world, cache, pod_for(f"{PLACEHOLDER_SCHEME}m", "/mnt/models", annotations=annotations))
    await world.store.update({**secret, "data": encoded(default=storage_key(s3_server, bucket=bucket))})
    assert ((await bring(world, cache, pod_for(f"{PLACEHOLDER_SCHEME}m", "/mnt/models"))) / "weights").read_bytes() == b"1"


async def test_the_initializers_patterns_choose_files(world: World, cache: Cache, s3_server: S3Server) -> None:
    bucket = s3_server.create_bucket()
    for name in ("weights", "notes.txt"):
        s3_server.put(bucket, f"m/{name}", b"1")
    await create(world, "Secret", "storage-config", data=encoded(default=storage_key(s3_server, bucket=bucket)))
    env = [{"name": "STORAGE_IGNORE_PATTERNS", "value": "*.txt"}]
    container = {"name": "storage-initializer", "image": "kserve/storage-initializer:latest", "env": env}
    spec = {"container": container, "supportedUriFormats": [{"prefix": "s3://"}]}
    await create(world, "ClusterStorageContainer", "default", "", "serving.kserve.io/v1alpha1", spec=spec)
    top = await bring(world, cache, pod_for(f"{PLACEHOLDER_SCHEME}m", "/mnt/models"))
    assert [path.name for path in top.iterdir()] == ["weights"]


async def test_the_clusters_configuration_counts(world: World, cache: Cache, s3_server: S3Server) -> None:
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, "m/weights", b"1")
    await create(world, "Namespace", "kserve", "")
    s3 = {"s3Endpoint": s3_server.endpoint, "s3Region": s3_server.region, "s3AccessKeyIDName": "id", "s3SecretAccessKeyName": "key"}
    data = {"credentials": json.dumps({"s3": s3, "storageSecretNameAnnotation": "example.com/secret"})}
    await create(world, "ConfigMap", "inferenceservice-config", "kserve", data=data)
    await create(world, "Secret", "s", data=encoded(id=s3_server.access_key, key=s3_server.secret_key))
    pod = pod_for(f"s3://{bucket}/m", "/mnt/models", annotations={"example.com/secret": "s"})
    assert ((await bring(world, cache, pod)) / "weights").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("data", "said"),
    [(None, "config map ns/ca, named by secret ns/s annotation .*, is not there"), ({"x": "y"}, "has no key cabundle.crt")],
)
async def test_a_missing_ca_bundle_is_said(world: World, cache: Cache, data: dict[str, str] | None, said: str) -> None:
    annotations = {"serving.kserve.io/s3-cabundle-configmap": "ca"}
    await create(world, "ServiceAccount", "default", secrets=[{"name": "s"}])
    secret = encoded(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    await create(world, "Secret", "s", data=secret, metadata={"annotations": annotations})
    if data is not None:
        await create(world, "ConfigMap", "ca", data=data)
    with pytest.raises(NotFound, match=said) as caught:
        await bring(world, cache, pod_for("s3://bucket/m", "/mnt/models"))
    assert caught.value.reason == "ConfigMapNotFound"


async def test_an_iam_role_is_explained(world: World, cache: Cache) -> None:
    role = {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}}
    await create(world, "ServiceAccount", "default", metadata=role)
    with pytest.raises(FlambeauError, match=r"IAM role arn:aws:iam::1:role/r .* can only be taken on EKS"):
        await bring(world, cache, pod_for("s3://bucket/m", "/mnt/models"))


# What goes wrong on the way is told in the pod's condition, and mends itself


async def s3_pod(world: World, server: S3Server, endpoint: str, uri: str) -> None:
    secret = encoded(AWS_ACCESS_KEY_ID=server.access_key, AWS_SECRET_ACCESS_KEY=server.secret_key, AWS_DEFAULT_REGION=server.region)
    await create(world, "Secret", "s", data=secret, metadata={"annotations": {"serving.kserve.io/s3-endpoint": endpoint}})
    await create(world, "ServiceAccount", "default", secrets=[{"name": "s"}])
    await world.store.create(world.pod("p", uri=uri))


@pytest.mark.parametrize("fault", ["cut", "stall"])
async def test_an_s3_that_breaks_off_is_told_and_waited_for(
    world: World, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    monkeypatch.setattr(download, "ATTEMPTS_MAX", 2)
    monkeypatch.setattr(objects, "SILENCE_SECONDS_MAX", 0.5)
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, "m/weights", b"w" * 6_000_000)
    async with FaultyProxy(s3_server.port) as proxy:
        proxy.fail(fault, after_bytes=2_000_000, times=10**6)
        await world.agent()
        await s3_pod(world, s3_server, f"http://127.0.0.1:{proxy.port}", f"s3://{bucket}/m")
        pod = await world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "EndpointUnreachable")
        assert f"127.0.0.1:{proxy.port}" in condition(pod, "Ready")["message"]
        proxy.faults_left = 0
        pod = await world.until("p", is_ready)
        assert (world.directory(pod) / "mnt" / "models" / "weights").stat().st_size == 6_000_000
        assert any(start for start in proxy.gets("weights")), "it went on where it stopped"


async def test_a_full_cache_is_told_and_waited_for(world: World, s3_server: S3Server) -> None:
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, "m/weights", b"w" * 3_000)
    cache = Cache(world.home / "cache", 4_000)
    other = await keep_file(cache, b"o" * 3_000)
    agent = Agent(world.store, world.home, cache, world.clock)
    await agent.start()
    world.agents.append(agent)
    cache.lease(other, "somebody")
    await s3_pod(world, s3_server, s3_server.endpoint, f"s3://{bucket}/m")
    pod = await world.until("p", lambda pod: condition(pod, "Ready").get("reason") == "CacheFull")
    assert "in use by running models" in condition(pod, "Ready")["message"]
    cache.release(other, "somebody")
    os.utime(cache.folder("trees") / other, (0, 0))  # long ago: it may go
    await world.until("p", is_ready)


async def keep_file(cache: Cache, content: bytes) -> str:
    async def make(folder: Path) -> None:
        (folder / "file").write_bytes(content)

    return (await keep(make, cache)).digest
