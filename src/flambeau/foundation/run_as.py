"""As whom a process is started: another user, other groups, and no way to gain more than it has.

Used by the agent for pods and what runs beside them; switching needs the rights of root.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SET_NO_NEW_PRIVILEGES = 38
"""Linux's PR_SET_NO_NEW_PRIVS."""


@dataclass(frozen=True, slots=True)
class RunAs:
    """Who a process is."""

    user: int | None = None
    """None: who we are, with our groups."""
    group: int = 0
    groups: tuple[int, ...] = ()
    """Beside its own one; nothing of ours is kept."""
    no_new_privileges: bool = False
    """Programs that it starts gain nothing by being setuid. Linux only; elsewhere without effect."""

    def options(self) -> dict[str, Any]:
        """Return what ``subprocess.Popen`` and asyncio's like take for it; uvloop's take no ``user``, but each takes this."""
        if self == US:
            return {}
        return {"preexec_fn": self._become()}

    def _become(self) -> Callable[[], None]:
        """Return what makes a forked process this one. Between fork and exec only these calls are made: none waits for another thread."""
        gives_up = self.no_new_privileges and sys.platform == "linux"
        prctl = ctypes.CDLL(None, use_errno=True).prctl if gives_up else None

        def become() -> None:
            if self.user is not None:
                os.setgroups(self.groups)
                os.setgid(self.group)
                os.setuid(self.user)
            if prctl is not None and prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")

        return become

    def may_pass(self, path: Path) -> bool:
        """Tell whether a folder may be passed through, or a file executed; root may everything.

        Raises:
            OSError: it can't be looked at.
        """
        if self.user in (None, 0):
            return True
        status = path.stat()
        if status.st_uid == self.user:
            return bool(status.st_mode & 0o100)
        return bool(status.st_mode & (0o010 if status.st_gid in (self.group, *self.groups) else 0o001))

    def barrier_to(self, path: Path) -> Path | None:
        """Return the first thing on the way to a path, itself included, that may not be passed; None where the way is free.

        Raises:
            OSError: something can't be looked at.
        """
        for end in dict.fromkeys((path, path.resolve())):
            for step in (*reversed(end.parents), end):
                if not self.may_pass(step):
                    return step
        return None


US = RunAs()
"""Who we are."""


def run_as_of(pid: int) -> RunAs:
    """Return as whom a process runs, to start another one beside it; where the system doesn't tell, as us.

    Raises:
        OSError: there is no such process.
    """
    if sys.platform != "linux":
        return US
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    fields = {name: rest.split() for name, _, rest in lines}
    user, group, groups = int(fields["Uid"][1]), int(fields["Gid"][1]), tuple(map(int, fields["Groups"]))
    gives_up = fields.get("NoNewPrivs") == ["1"]
    if (user, group, set(groups)) == (os.geteuid(), os.getegid(), set(os.getgroups())):
        return RunAs(no_new_privileges=gives_up)
    return RunAs(user, group, groups, gives_up)
