"""ClusterStorageContainers and PersistentVolumeClaims: who fetches what, and what is wrong with one."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.resources.admission import review
from flambeau.control.resources.cluster_storage_container import CLUSTER_STORAGE_CONTAINER, fetcher_for
from flambeau.control.resources.kind import Object
from flambeau.control.resources.persistent_volume_claim import PERSISTENT_VOLUME_CLAIM


def container(name: str, *formats: dict[str, str], disabled: bool = False, **spec: Any) -> Object:
    own = {"name": "c", "image": "example/fetcher", "command": ["fetch"]}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": name},
        "spec": {"container": own, "supportedUriFormats": list(formats), **spec},
        **({"disabled": True} if disabled else {}),
    }


KSERVES = container(
    "default", {"prefix": "s3://"}, {"prefix": "mine://"}, container={"name": "c", "image": "kserve/storage-initializer:v0.15"}
)
MINE = container("mine", {"prefix": "mine://"}, {"regex": r"https://(.+?)\.example\.com/(.+)"}, workloadType="initContainer")
OFF = container("off", {"prefix": "off://"}, disabled=True)
JOB = container("job", {"prefix": "job://"}, workloadType="localModelDownloadJob")


@pytest.mark.parametrize(
    ("uri", "named", "wanted"),
    [
        ("s3://bucket/m", "", None),
        ("mine://m", "", "mine"),
        ("https://models.example.com/m.pt", "", "mine"),
        ("https://models.example.org/m.pt", "", None),
        ("mine://m", "other", None),
        ("off://m", "", None),
        ("job://m", "", None),
    ],
)
def test_who_fetches(uri: str, named: str, wanted: str | None) -> None:
    found = fetcher_for(uri, [KSERVES, MINE, OFF, JOB], named)
    assert (found and found["metadata"]["name"]) == wanted


def test_what_is_wrong_with_one() -> None:
    assert review(CLUSTER_STORAGE_CONTAINER, container("a", {"prefix": "a://"}), None).errors == ()
    both = review(CLUSTER_STORAGE_CONTAINER, container("a", {"prefix": "a", "regex": "b"}), None)
    assert [finding.path for finding in both.errors] == ["spec.supportedUriFormats[0]"]
    pattern = review(CLUSTER_STORAGE_CONTAINER, container("a", {"regex": "("}), None)
    assert [finding.path for finding in pattern.errors] == ["spec.supportedUriFormats[0].regex"]
    silent = review(CLUSTER_STORAGE_CONTAINER, container("a", {"prefix": "a"}, container={"name": "c", "image": "x"}), None)
    assert "names no command" in silent.warnings[0]
    assert review(CLUSTER_STORAGE_CONTAINER, KSERVES, None).warnings == ()
    assert "localModelDownloadJob is not served here" in review(CLUSTER_STORAGE_CONTAINER, JOB, None).warnings[0]


def test_a_claim_shows_what_it_got() -> None:
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c", "namespace": "ns", "creationTimestamp": "2025-12-31T23:58:30Z"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    found = review(PERSISTENT_VOLUME_CLAIM, claim, None)
    assert found.errors == ()
    assert "1Gi is not kept apart or enforced" in found.warnings[0]
    claim["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    cells = {column.name: column.cell(claim, 1767225600.0) for column in PERSISTENT_VOLUME_CLAIM.table_columns}
    wanted = {"Status": "Bound", "Capacity": "1Gi", "Access Modes": "RWO", "Age": "90s"}
    assert {name: cell for name, cell in cells.items() if cell is not None} == {"Name": "c", **wanted}
