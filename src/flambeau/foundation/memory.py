"""What a process keeps of memory that it does not use: freed pieces, and the code of what it has imported."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Final

KEPT_BYTES_MAX: Final = 16 << 20
"""Freed memory that stays with the process."""
HEAP_PIECE_BYTES_MAX: Final = 8 << 20
"""A longer piece gets pages of its own, which go back to the system when it is freed."""

# mallopt()'s names for them, of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_MADV_DONTNEED = 4
_OWN_MAPPINGS = Path("/proc/self/smaps")
# A mapping of a file (its inode is not 0) that cannot be written, and of which no page is the process's own.
_CODE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ [1-9].*\n(?:(?!Anonymous:)[A-Z].*\n)*Anonymous: +0 kB$", re.MULTILINE)


def keep_freed_memory() -> None:
    """Keep what is freed for the next piece, up to KEPT_BYTES_MAX.

    For a process through which bodies go: each read is a new piece of up to 256 kB, each whole body another, and by default its pages go
    back to the system and come again, zeroed, for the next one. That was two thirds of the gateway's time with a 10 MB answer (10.7 ms, 3.5
    without), and a third of the model server's with 600 kB both ways.
    Where the C library is another one, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX)
        mallopt(_M_MMAP_THRESHOLD, HEAP_PIECE_BYTES_MAX)


def give_back_code() -> None:
    """Give back the pages of libraries' code and constants, for a process that has imported much and now mostly waits.

    They stay in the system's file cache, and come again from there, 64 kB at a time, as far as they are used. With torch imported it is a
    third of 230 MB, and takes 15 ms. On other systems than Linux nothing happens.
    """
    if not _OWN_MAPPINGS.exists():
        return
    madvise = ctypes.CDLL(None).madvise
    for start, end in _CODE.findall(_OWN_MAPPINGS.read_text()):
        madvise(ctypes.c_void_p(int(start, 16)), ctypes.c_size_t(int(end, 16) - int(start, 16)), _MADV_DONTNEED)
