"""Workers that torch's launcher for Xeon processors starts: it runs on any Linux, and binds to whatever cores there are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from flambeau.serving.workers import launcher
from flambeau.serving.workers.starter import ForkStarter, FreshStarter, LaunchedStarter, starter_of
from tests.serving.workers.kit import serving, until, write_model

pytestmark = pytest.mark.skipif(shutil.which("lscpu") is None or shutil.which("taskset") is None, reason="needs lscpu and taskset")

TELLS = """
import json, os

def handle(data, context):
    told = {"cores": sorted(os.sched_getaffinity(0)), "threads": os.environ.get("OMP_NUM_THREADS")}
    return data and [json.dumps(told)] * len(data)
"""


async def test_a_worker_has_the_cores_that_the_launcher_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    starter = LaunchedStarter(sys.executable, ("--core-list", "0", "--ncores-per-instance", "1"), 1)
    async with serving(write_model(tmp_path, TELLS), starter, ready=False, grace_seconds=20) as served:
        assert json.loads(await served.ask().text()) == {"cores": [0], "threads": "1"}
        before = served.pid
        os.kill(before, signal.SIGKILL)
        await until(lambda: served.pool.workers()[0].pid not in (None, before), seconds=60)
        assert json.loads(await served.ask().text())["cores"] == [0]
        assert any("failed (exitcode: -9)" in line for line in served.log)


async def test_a_launcher_that_fails_is_told(tmp_path: Path) -> None:
    starter = LaunchedStarter(sys.executable, ("--no-such-argument",), 1)
    async with serving(write_model(tmp_path, TELLS), starter, ready=False) as served:
        await until(lambda: any("--no-such-argument" in line for line in served.log), seconds=60)


def test_only_plain_workers_are_launched(tmp_path: Path) -> None:
    spec = write_model(tmp_path, TELLS, max_workers=2)
    assert isinstance(starter_of(spec, ForkStarter()), ForkStarter)
    assert isinstance(starter_of(spec, ForkStarter(launcher_arguments=())), LaunchedStarter)
    assert isinstance(starter_of(spec, FreshStarter()), FreshStarter)


def test_what_the_launcher_lacks_is_known_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launcher.why_not() is None
    monkeypatch.setattr(shutil, "which", lambda command: None)
    assert launcher.why_not() == "torch.backends.xeon.run_cpu needs the command lscpu"
    monkeypatch.setattr(launcher, "find_spec", lambda name: None)
    assert launcher.why_not() == "this torch has no torch.backends.xeon.run_cpu"
