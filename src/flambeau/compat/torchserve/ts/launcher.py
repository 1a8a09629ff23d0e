"""``from ts import launcher``: start, stop and fill a server from a script or notebook, with our own command.

With ``model_server``, one of the two modules here that are no re-export: what it stands for is a command line, which no room below offers.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO

import httpx2

COMMAND = (sys.executable, "-m", "flambeau.cli.torchserve.server")
"""Our ``torchserve``, on this interpreter."""
MANAGEMENT = "http://localhost:8081"
"""Where a server with the default configuration is managed."""
LINES_KEPT_MAX = 10_000
"""Lines of the server's output that wait for the caller; later ones are dropped."""
REGISTER_SECONDS = 300.0
"""How long a registration may take."""


def stop(wait: bool = True) -> None:
    """Stop the server; returns when it has ended.

    Args:
        wait: kept for scripts: stopping always waits.
    """
    subprocess.run([*COMMAND, "--stop"], check=False)


def start(
    model_store: str | None = None,
    snapshot_file: str | None = None,
    no_config_snapshots: bool = False,
    plugin_folder: str | None = None,
    disable_token: bool = False,
    models: str | Sequence[str] | None = None,
    enable_model_api: bool = False,
) -> queue.Queue[str]:
    """Stop the server that runs, if one does, and start another; returns when its doors are open.

    Returns:
        The lines that it writes, as they come.

    Raises:
        RuntimeError: it did not start; the text is what it wrote.
    """
    stop()
    options = {"--model-store": model_store, "--plugins-path": plugin_folder, "--ts-config": snapshot_file}
    flags = {
        "--no-config-snapshots": no_config_snapshots,
        "--disable-token-auth": disable_token,
        "--enable-model-api": enable_model_api,
    }
    command = [*COMMAND, "--start"]
    for name, value in options.items():
        command += [name, value] if value else []
    command += [name for name, wanted in flags.items() if wanted]
    if models:
        command += ["--models", *([models] if isinstance(models, str) else models)]
    # The command ends when the doors are open; the server itself keeps the pipe and writes on.
    starting = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines: queue.Queue[str] = queue.Queue(LINES_KEPT_MAX)
    assert starting.stdout is not None, "it was asked for above"
    threading.Thread(target=_copy, args=(starting.stdout, lines), name="server's output", daemon=True).start()
    if starting.wait() != 0:
        written = "".join(lines.queue)
        raise RuntimeError(f"the server did not start (exit status {starting.returncode}): {written.strip()}")
    return lines


def register_model_with_params(params: Mapping[str, str] | Sequence[tuple[str, str]]) -> httpx2.Response:
    """Register a model at the server on this machine.

    Args:
        params: of ``POST /models``.

    Raises:
        httpx2.TransportError: the server can't be reached.
    """
    return httpx2.post(f"{MANAGEMENT}/models", params=dict(params), timeout=REGISTER_SECONDS)


def register_model(model_name: str, url: str) -> httpx2.Response:
    """Register a model with one worker, and wait until it is loaded."""
    return register_model_with_params({"model_name": model_name, "url": url, "initial_workers": "1", "synchronous": "true"})


def _copy(source: IO[str], lines: queue.Queue[str]) -> None:
    with source:
        for line in source:
            try:
                lines.put_nowait(line)
            except queue.Full:
                continue  # nobody reads; the server must not wait for that
