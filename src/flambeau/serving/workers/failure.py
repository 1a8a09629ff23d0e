"""How workers end, in words that a person can act on. Pure."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

OUT_OF_MEMORY_SEEN_HINT = "memory ran out, the kernel counted a kill: give it more, or use fewer workers or a smaller batch"
OUT_OF_MEMORY_HINT = "the kernel kills so when memory runs out: give it more, or use fewer workers or a smaller batch"

_TRACEBACK_STARTS = ("Traceback (most recent call last)", "Fatal Python error", "Current thread ", "Thread ")


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    code: int | None = None
    """Exit code, if it left by itself."""
    signal_number: int | None = None
    """What killed it."""
    note: str | None = None
    """Where nobody could see it: why."""

    @property
    def is_kill(self) -> bool:
        """Whether it was SIGKILL, or exit code 137, which is how a shell in between tells of it."""
        return self.signal_number == signal.SIGKILL or self.code == 128 + signal.SIGKILL

    def __str__(self) -> str:
        if self.signal_number is not None:
            return f"was killed by {_signal_name(self.signal_number)}"
        if self.code is not None:
            return f"ended with exit code {self.code}"
        return self.note or "ended, nobody saw how"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a model has a worker less than it should."""

    phase: str
    """``start``, ``load`` or ``answer``."""
    message: str
    """One sentence: which worker of which model, what happened, how it ended."""
    hint: str | None
    log_tail: tuple[str, ...]
    """The worker's last lines."""
    traceback_text: str = ""
    out_of_memory: bool = False
    """The kernel ended it because memory ran out, as far as can be known: nobody here sent that SIGKILL."""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def exit_of_wait_status(status: int) -> Exit:
    """Return how a process ended, from what ``waitpid`` gives."""
    if status & 0x7F:
        return Exit(signal_number=status & 0x7F)
    return Exit(code=(status >> 8) & 0xFF)


def exit_of_returncode(returncode: int) -> Exit:
    """Return how a process ended, from ``subprocess``'s form: signals are negative."""
    return Exit(signal_number=-returncode) if returncode < 0 else Exit(code=returncode)


def traceback_in(lines: Sequence[str]) -> str:
    """Return the last Python traceback among a worker's lines, native ones of faulthandler included; empty if there is none."""
    starts = [index for index, line in enumerate(lines) if line.startswith(_TRACEBACK_STARTS)]
    return "\n".join(lines[starts[-1] :]) if starts else ""


def hint_of(ended: Exit, out_of_memory_kills: int = 0) -> str | None:
    """Return what to do about an end that nobody here caused.

    Args:
        ended: how it ended.
        out_of_memory_kills: how many processes the kernel killed for memory meanwhile.
    """
    if ended.is_kill:
        return OUT_OF_MEMORY_SEEN_HINT if out_of_memory_kills else OUT_OF_MEMORY_HINT
    if ended.signal_number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE):
        return "native code crashed: the worker's log shows where, and a torch or driver built for another machine is the usual cause"
    if ended.code == 0:
        return "the handler ended its own process: it must return instead of calling exit()"
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
