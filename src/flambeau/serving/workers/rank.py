"""One process of a parallel worker: started by torchrun, it lives a worker's life on a link to its group's leader (``group``)."""

from __future__ import annotations

import argparse
import os
import socket
import struct
import sys
from collections.abc import Sequence

from flambeau.serving.workers import child

RANK = struct.Struct("<I")
"""The first bytes on the link: which rank this is."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a rank until the leader lets it go."""
    parser = argparse.ArgumentParser(prog="flambeau-rank")
    parser.add_argument("--socket", required=True, help="path of the leader's socket")
    options = parser.parse_args(arguments)
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end.connect(options.socket)
    end.sendall(RANK.pack(int(os.environ["RANK"])))
    return child.run(end, os.getppid())


if __name__ == "__main__":
    sys.exit(main())
