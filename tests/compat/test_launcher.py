from __future__ import annotations

import importlib
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from flambeau.serving.handlers.service import TORCHSERVE_SURFACE
from tests.fixtures.archives import ECHO, write_mar


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``ts.launcher`` for a server of this test alone: its pid file and management door are the test's own."""
    monkeypatch.setattr(sys, "path", [str(TORCHSERVE_SURFACE), *sys.path])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("ts.launcher")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def test_a_server_is_started_filled_and_stopped(launcher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mar(tmp_path / "store", "echo", ECHO)
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(launcher, "MANAGEMENT", url)
    config = tmp_path / "config.properties"
    config.write_text(
        f"inference_address={url}\nmanagement_address={url}\nmetrics_address={url}\ngrpc_inference_port=\ngrpc_management_port=\n"
    )
    lines = launcher.start(
        model_store=str(tmp_path / "store"), snapshot_file=str(config), no_config_snapshots=True, disable_token=True, enable_model_api=True
    )
    try:
        answer = launcher.register_model("echo", "echo.mar")
        assert answer.status_code == 200, answer.text
        assert "echo" in launcher.httpx2.get(f"{url}/models").text
    finally:
        launcher.stop()
    assert any("door open" in line for line in lines.queue)
    with pytest.raises(launcher.httpx2.TransportError):
        launcher.register_model("echo", "echo.mar")


def test_a_server_that_does_not_start_says_why(launcher: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="--model-store directory not found"):
        launcher.start(model_store=str(tmp_path / "nowhere"))
