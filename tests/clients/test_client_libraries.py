"""The clients that people use, unchanged and each in an environment of its own, against a whole server.

``make test`` makes the environments (``make peers-clients``); without them these tests are skipped.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fixtures.archives import write_mar
from tests.fixtures.waiting import until
from tests.programs.kit import serving

ROOT = Path(__file__).parents[2]
CONFIG = (
    "inference_address=http://127.0.0.1:0\nmanagement_address=http://127.0.0.1:0\nmetrics_address=http://127.0.0.1:0\n"
    "grpc_inference_port=0\ngrpc_management_port=\ndefault_workers_per_model=1\n"
)
DATA = """\
class Data:
    def initialize(self, context):
        pass

    def handle(self, rows, context):
        return [row["data"] for row in rows]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def addresses(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, str]]:
    """A server's HTTP and gRPC addresses."""
    root = tmp_path_factory.mktemp("clients")
    write_mar(root / "store", "data", DATA)
    models = ["--model-store", str(root / "store"), "--models", "data.mar", "--disable-token-auth"]
    async with serving(root, models, config=CONFIG) as served:
        await until(lambda: "loaded worker" in served.err.read_text())
        [rpc] = re.findall(r"gRPC open address=(\S+)", served.err.read_text())
        yield served.url.removeprefix("http://"), rpc


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("peer", "script"), [("tritonclient", "triton_client.py"), ("kserve", "kserve_client.py")])
async def test_a_client_library_is_content(addresses: tuple[str, str], peer: str, script: str) -> None:
    python = ROOT / ".peers" / peer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment with {peer}: make peers-clients")
    arguments = [str(python), str(Path(__file__).with_name(script)), *addresses, str(ROOT / "src")]
    asking = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        said, _ = await asyncio.wait_for(asking.communicate(), 60)
    finally:
        if asking.returncode is None:
            asking.kill()
            await asking.wait()
    assert asking.returncode == 0, said.decode()
