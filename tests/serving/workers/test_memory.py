from __future__ import annotations

from pathlib import Path

import pytest

from flambeau.serving.workers.failure import OUT_OF_MEMORY_HINT, OUT_OF_MEMORY_SEEN_HINT, Exit, hint_of, traceback_in
from flambeau.serving.workers.memory import out_of_memory_kills


@pytest.mark.parametrize(
    ("groups", "files", "kills"),
    [
        ("0::/pod/one\n", {"cgroup/pod/one/memory.events": "low 0\noom 3\noom_kill 2\n"}, 2),
        ("4:memory:/pod\n1:cpu:/\n", {"cgroup/memory/pod/memory.oom_control": "under_oom 0\noom_kill 5\n"}, 5),
        ("4:memory:/host/pod\n", {"cgroup/memory/memory.oom_control": "oom_kill 7\n"}, 7),
        ("0::/\n", {"vmstat": "pgfault 9\noom_kill 1\n"}, 1),
        ("0::/\n", {"vmstat": "oom_kill many\n"}, None),
        (None, {}, None),
    ],
)
def test_where_the_kernels_count_is(tmp_path: Path, groups: str | None, files: dict[str, str], kills: int | None) -> None:
    if groups is not None:
        (tmp_path / "self").write_text(groups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert out_of_memory_kills(tmp_path / "self", tmp_path / "cgroup", tmp_path / "vmstat") == kills


@pytest.mark.parametrize(
    ("ended", "kills", "hint"),
    [
        (Exit(signal_number=9), 0, OUT_OF_MEMORY_HINT),
        (Exit(signal_number=9), 1, OUT_OF_MEMORY_SEEN_HINT),
        (Exit(code=137), 0, OUT_OF_MEMORY_HINT),
        (Exit(code=3), 1, None),
    ],
)
def test_a_kill_and_what_the_kernel_counted(ended: Exit, kills: int, hint: str | None) -> None:
    assert hint_of(ended, kills) == hint
    assert ended.is_kill is (hint is not None)


def test_the_last_traceback_of_what_was_printed() -> None:
    lines = ["hello", "Traceback (most recent call last):", "  old", "ValueError: a", "Traceback (most recent call last):", "  new", "b"]
    assert traceback_in(lines) == "Traceback (most recent call last):\n  new\nb"
    assert traceback_in(["Fatal Python error: Aborted", "", "  File"]).startswith("Fatal")
    assert traceback_in(["nothing"]) == ""
