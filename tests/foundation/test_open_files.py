"""As many open files as the system allows, in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys

SCRIPT = """
import resource
from flambeau.foundation.open_files import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
allow_open_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_soft_limit_becomes_the_hard_one() -> None:
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4000)
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(hard=hard)], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [str(hard), str(hard)]
