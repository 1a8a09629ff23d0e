"""A full disk under the platform's home: what can't be written is said, what was written stays, requests go on, and room heals it all."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.system.harness import Platform, until
from tests.system.many import ANSWERING, apply, client, ready_count, service

DISK_BYTES = 48_000_000
HOST = "kept.default.svc.cluster.local"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small file system."""
    folder = tmp_path_factory.mktemp("small") / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def small(disk: Path) -> Iterator[Platform]:
    """A platform whose home is on the small file system."""
    platform = Platform(disk / "home")
    platform.log = disk.parent / "up.log"
    with platform.running() as running:
        yield running


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no byte of room while the block runs, whatever is deleted meanwhile."""
    filler, done = disk / "filler", threading.Event()

    def fill() -> None:
        with filler.open("ab", buffering=0) as file:
            while not done.is_set():
                with suppress(OSError):
                    while file.write(b"\0" * 4096):
                        pass
                done.wait(0.01)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        until(lambda: os.statvfs(disk).f_bavail == 0, seconds=30, what="full disk")
        yield
    finally:
        done.set()
        thread.join(30)
        filler.unlink()


def answer(platform: Platform) -> str:
    return platform.post("/v1/models/m:predict", {"instances": [1]}, host=HOST).text


def pod_processes(platform: Platform) -> list[psutil.Process]:
    return [process for process in platform.processes() if str(ANSWERING) in process.cmdline()]


def test_a_full_disk_is_told_costs_no_request_and_is_recovered_from(small: Platform, disk: Path) -> None:
    expected = '{"predictions": ["yes"]}'
    with client(small) as api:
        apply(api, service("kept"))
        until(lambda: ready_count(api) == 1, seconds=60, what="a Ready service")
        before = api.get("/api/v1/namespaces")["items"]
        with filled(disk):
            refused = small.kubectl("create", "ns", "late", check=False)
            assert refused.returncode != 0
            assert "the disk is full: free some space" in refused.stderr
            assert api.get("/api/v1/namespaces")["items"] == before
            assert [answer(small) for _ in range(50)] == [expected] * 50
            [victim] = pod_processes(small)
            victim.send_signal(signal.SIGKILL)
            victim.wait(10)
            words = "cannot write the status of pod default/kept"
            until(lambda: words in small.log.read_text() and not pod_processes(small), seconds=30, what="word of the killed pod in the log")
            assert api.get("/api/v1/namespaces")["items"] == before
        until(lambda: answer(small) == expected, seconds=60, what="an answer once there is room")
        assert len(pod_processes(small)) == 1, "no process stayed of the attempts"
        small.kubectl("create", "ns", "late")
        apply(api, service("later", namespace="late"))
        until(lambda: ready_count(api, "late") == 1, seconds=60, what="another Ready service")


def test_what_was_acknowledged_is_there_after_a_kill_on_a_full_disk(small: Platform, disk: Path) -> None:
    with filled(disk):
        small.kill()
    small.start()
    with client(small) as api:
        until(lambda: ready_count(api) == 1 and ready_count(api, "late") == 1, seconds=60, what="both services Ready")
