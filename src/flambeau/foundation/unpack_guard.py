"""What an archive may hold: checked entry by entry, before anything of the entry is written (rules R6 and R12)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.foundation.files import is_safe_relative


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """How much an archive may expand to."""

    entries_max: int = 20_000
    expanded_bytes_max: int = 64 * 1024**3
    ratio_max: int = 200
    """Expanded by packed bytes. Weights pack 1 to 2 times, text 10 times; deflate's most is 1032."""
    ratio_free_bytes: int = 256 * 1024**2
    """So much may come out of any archive, whatever the ratio."""


class Guard:
    """Refuse what would leave the folder, collide in it, or fill the disk.

    Args:
        archive: the archive's name, for errors.
        packed_bytes: its size.
        limits: how much it may expand to.
    """

    def __init__(self, archive: str, packed_bytes: int, limits: UnpackLimits) -> None:
        self._archive = archive
        self._limits = limits
        self._bytes = 0
        self._bytes_max = min(limits.expanded_bytes_max, max(limits.ratio_free_bytes, packed_bytes * limits.ratio_max))
        self._entries = 0
        self._seen: dict[str, tuple[str, bool]] = {}

    def admit(self, name: str, *, is_directory: bool) -> str | None:
        """Check an entry's name.

        Args:
            name: as the archive spells it.
            is_directory: whether the entry is a folder.

        Returns:
            The path below the target folder; None for the folder itself (``./``).

        Raises:
            InvalidInput: the name leaves the folder, or is there already, perhaps in another capitalisation.
            TooLarge: too many entries.
        """
        self._entries += 1
        if self._entries > self._limits.entries_max:
            raise TooLarge(f"archive {self._archive} holds more than {self._limits.entries_max} entries")
        path = name
        while path.startswith("./"):
            path = path[2:].lstrip("/")
        path = path.rstrip("/")
        if path in ("", ".") and is_directory and not name.startswith("/"):
            return None
        if name.startswith("/") or not is_safe_relative(path):
            raise InvalidInput(
                f"archive {self._archive} has the unsafe path {name!r}: entries must stay inside the archive",
                hint="make the archive again, with plain relative paths",
            )
        parts = path.split("/")
        for depth in range(1, len(parts)):
            self._claim("/".join(parts[:depth]), is_directory=True)
        self._claim(path, is_directory=is_directory)
        return path

    def refuse_kind(self, name: str, kind: str) -> InvalidInput:
        """Return the error for an entry that is neither a file nor a folder."""
        return InvalidInput(
            f"archive {self._archive} holds the {kind} {name!r}: only files and folders are unpacked",
            hint="replace links by the files they lead to",
        )

    def count(self, size: int) -> None:
        """Add expanded bytes.

        Raises:
            TooLarge: the archive expands to more than it may.
        """
        self._bytes += size
        if self._bytes > self._bytes_max:
            raise TooLarge(
                f"archive {self._archive} expands to more than {self._bytes_max} bytes, its limit",
                hint=f"the limit is {self._limits.ratio_max} times the archive's size, and {self._limits.expanded_bytes_max} bytes at most",
            )

    def _claim(self, path: str, *, is_directory: bool) -> None:
        folded = unicodedata.normalize("NFC", path).casefold()
        known = self._seen.get(folded)
        if known is None:
            self._seen[folded] = (path, is_directory)
        elif known != (path, True) or not is_directory:
            raise InvalidInput(f"archive {self._archive} holds both {known[0]!r} and {path!r}, which are one file on some systems")
