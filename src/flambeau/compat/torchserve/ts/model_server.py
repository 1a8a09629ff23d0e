"""``from ts.model_server import start``, ``python -m ts.model_server``: the command ``torchserve`` on this process's arguments.

With ``launcher``, one of the two modules here that are no re-export: what it stands for is a command line, which no room below offers.
"""

from __future__ import annotations

import subprocess
import sys

from .launcher import COMMAND


def start() -> None:
    """Start or stop a server as the arguments say, and end this process with the command's status."""
    sys.exit(subprocess.run([*COMMAND, *sys.argv[1:]], check=False).returncode)


if __name__ == "__main__":
    start()
