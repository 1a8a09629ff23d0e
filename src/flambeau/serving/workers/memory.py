"""How often the kernel has killed processes because memory ran out: the evidence behind a SIGKILL that nobody here sent. Linux."""

from __future__ import annotations

from pathlib import Path

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_MACHINE = Path("/proc/vmstat")


def out_of_memory_kills(own_groups: Path = _OWN_GROUPS, groups: Path = _GROUPS, machine: Path = _MACHINE) -> int | None:
    """Return the kernel's count for this process's control group, else for the machine; None if neither can be read."""
    for path in (*_counters(own_groups, groups), machine):
        count = _count_in(path)
        if count is not None:
            return count
    return None


def _counters(own_groups: Path, groups: Path) -> list[Path]:
    """Return where this process's control group keeps its count: one hierarchy (version 2), or one for memory (version 1)."""
    paths = []
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            paths.append(groups / group.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            paths.append(groups / "memory" / group.lstrip("/") / "memory.oom_control")
            paths.append(groups / "memory" / "memory.oom_control")  # seen from inside a container
    return paths


def _count_in(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        return None
    return None
