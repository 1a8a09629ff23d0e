"""cpu_launcher_enable: the process between the front and torch's launcher for Xeon processors, which chooses a worker's cores, memory
allocator and threads. It hands the worker its link to the front and waits for the launcher's end.

Started by ``starter.LaunchedStarter`` as ``python -m flambeau.serving.workers.launcher``.
"""

from __future__ import annotations

import argparse
import os
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from flambeau.serving.workers.kinship import die_with_parent, name_process

LAUNCHER = "torch.backends.xeon.run_cpu"
_WORKER = Path(__file__).with_name("launched.py")
"""The launcher wants a file; PYTHONSAFEPATH keeps its folder off the module path."""
UNTOLD = 1
"""Exit code for a worker whose own nobody knows; the launcher's words above it tell."""


def why_not() -> str | None:
    """Return what the launcher lacks on this machine; None if it runs. Does not import torch."""
    torch = find_spec("torch")
    places = torch.submodule_search_locations if torch is not None else None
    if not any(Path(place, *LAUNCHER.split(".")[1:]).with_suffix(".py").is_file() for place in places or ()):
        return f"this torch has no {LAUNCHER}"
    if shutil.which("lscpu") is None:
        return f"{LAUNCHER} needs the command lscpu"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the launcher, hand the link on, and end with the launcher."""
    parser = argparse.ArgumentParser(prog="flambeau-launcher")
    parser.add_argument("--arguments", required=True, help="of the launcher, quoted as for a shell")
    parser.add_argument("--link", type=int, required=True, help="descriptor of the worker's end of its link")
    parser.add_argument("--parent", type=int, required=True, help="pid to die with")
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    name_process("fl:launcher")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The launcher gets the same SIGTERM and passes it on, so that the worker prints where it stands; we end after it.
    signal.signal(signal.SIGTERM, lambda number, stack: None)
    with tempfile.TemporaryDirectory(prefix="flambeau-launcher-") as directory:
        path = str(Path(directory) / "link")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.bind(path)
            door.listen(1)
            command = [sys.executable, "-m", LAUNCHER, *shlex.split(options.arguments), str(_WORKER), path]
            launcher = subprocess.Popen(command, env={**os.environ, "PYTHONSAFEPATH": "1"})
            worker = _accepted(door, launcher)
        if worker is None:
            return launcher.wait() or UNTOLD
        with worker:
            socket.send_fds(worker, [b"\0"], [options.link])
            os.close(options.link)
            launcher.wait()
            return _last_word(worker)


def _accepted(door: socket.socket, launcher: subprocess.Popen[bytes]) -> socket.socket | None:
    """Return the connection of the worker; None if the launcher ends before there is one."""
    ended = os.pidfd_open(launcher.pid)
    with selectors.DefaultSelector() as selector:
        selector.register(door, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        is_there = any(key.fileobj is door for key, _ in selector.select())
    os.close(ended)
    return door.accept()[0] if is_there else None


def _last_word(worker: socket.socket) -> int:
    """Return the exit code that the worker left; UNTOLD if it could not, as when it was killed."""
    try:
        word = worker.recv(1, socket.MSG_DONTWAIT)
    except (BlockingIOError, ConnectionError):  # something that it had started holds the other end still
        word = b""
    return word[0] if word else UNTOLD


if __name__ == "__main__":
    sys.exit(main())
