"""kill -9 of the control plane in the middle of applies, over seeds: what was acknowledged is there, whole, and nothing is there twice."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flambeau.cli.api import Api
from flambeau.cli.kubeconfig import load_connection
from flambeau.foundation.errors import NotFound, TimedOut, Unavailable
from tests.system.harness import Platform, until

SEEDS = range(20)
APPLIES = 50
KILL_SECONDS_MAX = 0.008
"""After the apply began in which the control plane is killed: some have been answered by then, some have not."""
START_SECONDS_MAX = 30.0
NAMESPACE = "default"
CONFIG_MAPS, SERVICES = "/api/v1", "/apis/serving.kserve.io/v1beta1"
Name = tuple[str, str]
"""Where a kind is, and an object's name."""


class ControlPlane:
    """A control plane in a process of its own, and a client of it."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("control_plane.py")), str(home)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise AssertionError(self.process.communicate(timeout=START_SECONDS_MAX)[1])
        self.api = Api(load_connection(kubeconfig=home / "kubeconfig", context=None))

    def close(self) -> None:
        """End it as a crash would, if it has not ended; leave nothing open."""
        self.api.__exit__(None, None, None)
        self.process.kill()
        self.process.communicate(timeout=START_SECONDS_MAX)

    def apply(self, name: Name, value: int) -> None:
        """Make an object have a value; returns when that is acknowledged."""
        query = {"fieldManager": "flambeau", "force": "true"}
        self.api.request("PATCH", path(name), query=query, body=document(name, value), content_type="application/apply-patch+yaml")

    def value(self, name: Name) -> int | None:
        """Return an object's value; None where there is no object."""
        try:
            obj = self.api.get(path(name))
        except NotFound:
            return None
        return int(obj["data"]["value"] if name[0] == CONFIG_MAPS else obj["spec"]["predictor"]["canaryTrafficPercent"])

    def all(self, plural: str) -> list[dict[str, Any]]:
        """Return every object of a kind."""
        return list(self.api.get(self.api.type_named(plural).path(None))["items"])


@contextlib.contextmanager
def control_plane(home: Path) -> Iterator[ControlPlane]:
    running = ControlPlane(home)
    try:
        yield running
    finally:
        running.close()


def path(name: Name) -> str:
    return f"{name[0]}/namespaces/{NAMESPACE}/{'configmaps' if name[0] == CONFIG_MAPS else 'inferenceservices'}/{name[1]}"


def document(name: Name, value: int) -> dict[str, Any]:
    """Return an object whose value can be changed without a new revision."""
    metadata = {"name": name[1], "namespace": NAMESPACE}
    if name[0] == CONFIG_MAPS:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": str(value), "filler": "x" * 2000}}
    predictor = {"model": {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/mnist"}, "canaryTrafficPercent": value}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor},
    }


def wishes(seed: int) -> list[tuple[Name, int]]:
    """Return what one seed applies, in order: new objects of its own, and changes of those that all seeds share."""
    chance = random.Random(seed)
    shared = [*((CONFIG_MAPS, f"shared-{number}") for number in range(6)), *((SERVICES, f"shared-{number}") for number in range(3))]
    names = [*shared, (CONFIG_MAPS, f"seed-{seed}"), (SERVICES, f"seed-{seed}")]
    return [(chance.choice(names), chance.randrange(100)) for _ in range(APPLIES)]


def apply_until_killed(plane: ControlPlane, seed: int, acknowledged: dict[Name, int]) -> int:
    """Apply one seed's wishes; kill in the middle of one; return how many were acknowledged, with the values noted."""
    chance = random.Random(-seed - 1)
    fatal = chance.randrange(APPLIES // 10, APPLIES // 2)  # so many are left that a late timer still comes in time
    killer = threading.Timer(chance.random() * KILL_SECONDS_MAX, plane.process.send_signal, (signal.SIGKILL,))
    for number, (name, value) in enumerate(wishes(seed)):
        if number == fatal:
            killer.start()
        try:
            plane.apply(name, value)
        except (Unavailable, TimedOut):
            killer.join()
            return number
        acknowledged[name] = value
    raise AssertionError("it was killed and went on answering")


def check_nothing_half_written(plane: ControlPlane) -> None:
    """Every service gets its one revision with one pod, by itself, and nothing outlives its owner."""

    def revisions() -> Counter[str]:
        return Counter(each["metadata"]["labels"]["serving.kserve.io/inferenceservice"] for each in plane.all("revisions"))

    services = [each["metadata"]["name"] for each in plane.all("inferenceservices")]
    until(lambda: len(revisions()) == len(services), seconds=START_SECONDS_MAX, what="revision of each service")
    assert set(revisions().values()) <= {1}
    until(lambda: len(plane.all("pods")) == len(services), seconds=START_SECONDS_MAX, what="pod of each revision")
    until(lambda: len(plane.all("services.serving.knative.dev")) == len(services), seconds=START_SECONDS_MAX, what="view of each service")
    everything = [obj for kind in ("inferenceservices", "revisions", "pods", "deployments", "replicasets") for obj in plane.all(kind)]
    uids = {obj["metadata"]["uid"] for obj in everything}
    for obj in everything:
        assert {owner["uid"] for owner in obj["metadata"].get("ownerReferences", [])} <= uids, obj["metadata"]


def test_no_acknowledged_apply_is_lost(tmp_path: Path) -> None:
    acknowledged: dict[Name, int] = {}
    begun = 0
    for seed in SEEDS:
        with control_plane(tmp_path) as plane:
            if seed:
                name, value = wishes(seed - 1)[begun]
                assert plane.value(name) in (acknowledged.get(name), value), f"seed {seed - 1}: half an apply of {name}"
                for other, expected in acknowledged.items():
                    assert other == name or plane.value(other) == expected, f"seed {seed - 1}: {other}"
                for rest, value in wishes(seed - 1)[begun:]:
                    plane.apply(rest, value)
                    acknowledged[rest] = value
            begun = apply_until_killed(plane, seed, acknowledged)
    with control_plane(tmp_path) as plane:
        for name, expected in acknowledged.items():
            assert plane.value(name) == expected or name == wishes(SEEDS[-1])[begun][0]
        check_nothing_half_written(plane)
        assert plane.process.poll() is None


def custom(name: str, word: str) -> dict[str, Any]:
    """Return a service whose pod is a real process, with a new revision for each word."""
    command = [sys.executable, str(Path(__file__).with_name("answering.py"))]
    container = {"name": "kserve-container", "image": "answering", "command": command, "env": [{"name": "WORD", "value": word}]}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"predictor": {"containers": [container]}},
    }


def test_no_process_is_orphaned(platform: Platform) -> None:
    """Killed while revisions come and go; afterwards each service has the one process of its newest revision, and no other is left."""
    names, chance = ("one", "two"), random.Random(0)
    for number in range(3):
        assert platform.process is not None
        killer = threading.Timer(0.5 + chance.random(), platform.process.kill)
        with Api(load_connection(kubeconfig=platform.home / "kubeconfig", context=None)) as api:
            for name in names:
                query = {"fieldManager": "flambeau", "force": "true"}
                body = custom(name, f"word-{number}")
                api.request("PATCH", path((SERVICES, name)), query=query, body=body, content_type="application/apply-patch+yaml")
        killer.start()
        killer.join()
        platform.process.wait(10)
        platform.start()

    def served() -> list[str]:
        hosts = [f"{name}.default.svc.cluster.local" for name in names]
        return [platform.post("/v1/models/m:predict", {"instances": []}, host=host).text for host in hosts]

    until(lambda: served() == ['{"predictions": ["word-2"]}'] * 2, seconds=60, what="answers of the last words")

    def pods() -> list[str]:
        return [pod["metadata"]["uid"] for name in names for pod in platform.pods(name, NAMESPACE)]

    def homes() -> list[str]:
        running = [process for process in platform.processes() if "answering.py" in " ".join(process.cmdline())]
        return sorted(process.environ()["POD_NAME"] for process in running)

    until(lambda: len(pods()) == len(homes()) == len(names), seconds=40, what="one process a service")
    assert homes() == sorted(pod["metadata"]["name"] for name in names for pod in platform.pods(name, NAMESPACE))
