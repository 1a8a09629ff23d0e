"""What ``allowed_urls`` allows to be downloaded. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import re2

from flambeau.foundation.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class AllowedAddress:
    """One regular expression of ``allowed_urls``: matched whole and in any case, in linear time whatever it is."""

    pattern: str
    _compiled: Any = field(compare=False, repr=False)

    @classmethod
    def parse(cls, pattern: str) -> AllowedAddress:
        """Compile an expression.

        Raises:
            InvalidInput: it is none, or uses what linear time does not allow (look-around, back references).
        """
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        try:
            return cls(pattern, re2.compile(pattern, options))
        except re2.error as error:
            raise InvalidInput(f'allowed_urls: cannot use the expression "{pattern}": {error}', reason="InvalidConfiguration") from error

    def matches(self, url: str) -> bool:
        """Tell whether it allows an address."""
        return self._compiled.fullmatch(url) is not None

    def names(self, host: str) -> bool:
        """Tell whether it spells a host out. ``https://.*`` allows the Internet; only a rule that names it opens a private address."""
        return host.lower() in self.pattern.lower().replace("\\", "")
