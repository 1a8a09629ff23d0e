"""The kserve SDK's KServeClient, unchanged, in an environment of its own (``make peers-clients``)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from flambeau.control.resources.kind import Key
from tests.control.apiserver.cluster import Cluster
from tests.control.apiserver.test_kubectl import set_ready

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".peers" / "kserve" / "bin" / "python"
SCRIPT = ROOT / "tests" / "clients" / "kserve_control_client.py"
SECONDS_MAX = 120


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.skipif(not PYTHON.exists(), reason="no environment with kserve: make peers-clients")
async def test_its_client_is_content(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    asking = await asyncio.create_subprocess_exec(
        *(str(PYTHON), str(SCRIPT), str(cluster.server.kubeconfig), namespace, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert asking.stdout is not None
    said = []
    try:
        async with asyncio.timeout(SECONDS_MAX):
            async for line in asking.stdout:
                said.append(line.decode())
                if line == b"created\n":
                    await set_ready(cluster, Key("inferenceservices.serving.kserve.io", namespace, "mnist"))
            await asking.wait()
    finally:
        if asking.returncode is None:
            asking.kill()
            await asking.wait()
    assert asking.returncode == 0, "".join(said)
