"""Mounts, and paths that lead to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flambeau.control.agent.volumes import Keys, Mount, Source, mounts_for, rewrite
from flambeau.foundation.errors import InvalidInput

HERE = Path("/home/pods/p")
LABELS = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}


def from_keys(*keys: Keys) -> Mount:
    return Mount("/data", HERE / "volumes/v", Source.KEYS, keys=keys, root=HERE / "volumes/v")


def mount(volume: dict[str, Any], path: str = "/data/") -> Mount:
    container = {"volumeMounts": [{"name": volume["name"], "mountPath": path}]}
    (found,) = mounts_for({"metadata": {"namespace": "ns"}, "spec": {"volumes": [volume]}}, container, HERE)
    return found


@pytest.mark.parametrize(
    ("volume", "wanted"),
    [
        ({"name": "kserve-provision-location", "emptyDir": {}}, Mount("/data", HERE / "mnt/models", Source.MODEL)),
        ({"name": "v", "emptyDir": {"medium": "Memory"}}, Mount("/data", HERE / "volumes/v", Source.EMPTY, root=HERE / "volumes/v")),
        ({"name": "v", "secret": {"secretName": "s"}}, from_keys(Keys("Secret", "s", None))),
        ({"name": "v", "configMap": {"name": "c", "optional": True}}, from_keys(Keys("ConfigMap", "c", None, is_optional=True))),
        (
            {"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "a/b"}]}},
            from_keys(Keys("ConfigMap", "c", (("k", "a/b"),))),
        ),
        (
            {"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}, {"downwardAPI": {"items": [LABELS]}}]}},
            from_keys(Keys("Secret", "s", None), Keys("Pod", "", (), (("labels", LABELS),))),
        ),
        ({"name": "v", "hostPath": {"path": "/srv"}}, Mount("/data", Path("/srv"), Source.HOST)),
        (
            {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
            Mount("/data", Path("/home/volumes/ns/c"), Source.CLAIM, "c", root=Path("/home/volumes/ns/c")),
        ),
    ],
)
def test_a_volume_is_a_place_on_this_machine(volume: dict[str, Any], wanted: Mount) -> None:
    assert mount(volume) == wanted


def test_a_mount_may_be_a_path_in_its_volume() -> None:
    container = {"volumeMounts": [{"name": "v", "mountPath": "/etc/app.yaml", "subPath": "app.yaml"}]}
    pod = {"metadata": {"namespace": "ns"}, "spec": {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}}
    (found,) = mounts_for(pod, container, HERE)
    assert (found.place, found.root) == (HERE / "volumes/v/app.yaml", HERE / "volumes/v")
    container["volumeMounts"][0]["subPath"] = "../../x"
    with pytest.raises(InvalidInput, match="leads out of the volume"):
        mounts_for(pod, container, HERE)


def test_a_volume_that_cannot_be_here_says_so() -> None:
    with pytest.raises(InvalidInput, match="nfs") as caught:
        mount({"name": "v", "nfs": {"server": "s", "path": "/"}})
    assert caught.value.reason == "VolumeNotSupported"


@pytest.mark.parametrize("name", ["..", "a/b", "../../elsewhere", "/etc"])
def test_the_name_of_a_volume_leads_nowhere(name: str) -> None:
    pod = {"metadata": {"namespace": "n"}, "spec": {"volumes": [{"name": name, "emptyDir": {}}]}}
    with pytest.raises(InvalidInput, match="no name of a volume"):
        mounts_for(pod, {"volumeMounts": [{"name": name, "mountPath": "/data"}]}, Path("/pods/n_p_u"))


def test_a_mount_without_its_volume_says_so() -> None:
    with pytest.raises(InvalidInput, match='"absent"'):
        mounts_for({"spec": {}}, {"volumeMounts": [{"name": "absent", "mountPath": "/x"}]}, HERE)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/mnt/models", "/real"),
        ("--store=/mnt/models/model-store", "--store=/real/model-store"),
        ("open('/mnt/models/a')", "open('/real/a')"),
        ("/mnt/models-old", "/mnt/models-old"),
        ("/other/mnt/models", "/other/mnt/models"),
        ("s3://b/mnt/models", "s3://b/mnt/models"),
        ("a=/mnt/models,b=/mnt/models", "a=/real,b=/real"),
        ("/mnt/models/deep/x", "/deeper/x"),
    ],
)
def test_paths_are_rewritten_as_a_whole(text: str, wanted: str) -> None:
    assert rewrite(text, {"/mnt/models": "/real", "/mnt/models/deep": "/deeper"}) == wanted
