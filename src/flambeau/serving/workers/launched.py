"""A worker that torch's launcher for Xeon processors starts: it gets its link from ``launcher`` through a socket, as the launcher passes
no descriptors on, lives as any worker, and leaves its exit code there, as the launcher passes that on neither.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence

from flambeau.serving.workers import child


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the link and run a worker."""
    parser = argparse.ArgumentParser(prog="flambeau-launched")
    parser.add_argument("socket", help="path of the leader's socket")
    options = parser.parse_args(arguments)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.connect(options.socket)
        _, [link], _, _ = socket.recv_fds(door, 1, 1)
        code = child.run(socket.socket(fileno=link), os.getppid())
        door.sendall(bytes([code]))
    return code


if __name__ == "__main__":
    sys.exit(main())
