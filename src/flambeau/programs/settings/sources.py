"""Decide which source of a key wins: environment (where it was allowed) > command line > file > default. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.settings.keys import KEYS, OTHER_VARIABLES, likely_meant
from flambeau.programs.settings.properties import PropertiesFile


@dataclass(frozen=True, slots=True)
class Value:
    """A key's effective value and where it came from."""

    key: str
    text: str
    source: str
    """``default``, ``config.properties line 3``, ``flag --model-store``, ``environment TS_JOB_QUEUE_SIZE``."""

    @property
    def is_from_file(self) -> bool:
        """Whether config.properties says it."""
        return self.source != "default" and not self.source.startswith(("flag ", "environment "))

    @property
    def is_from_flag(self) -> bool:
        """Whether the command line says it."""
        return self.source.startswith("flag ")

    def integer(self, *, least: int = 0) -> int:
        """Return the value as a whole number.

        Raises:
            InvalidInput: it isn't one, or is below ``least``.
        """
        try:
            number = int(self.text)
        except ValueError:
            raise self.refused("is not a whole number") from None
        if number < least:
            raise self.refused(f"is below {least}")
        return number

    def boolean(self) -> bool:
        """Return True for ``true`` in any case, False for everything else, as Java does."""
        return self.text.strip().lower() == "true"

    def refused(self, why: str, *, hint: str | None = None) -> InvalidInput:
        """Return the error that says what is wrong with this value."""
        shown = "its value" if key_is_secret(self.key) else f'"{self.text}"'
        return InvalidInput(f"cannot use {self.key} ({self.source}): {shown} {why}", hint=hint, reason="InvalidConfiguration")


@dataclass(frozen=True, slots=True)
class Values:
    """Every key's value, and what was odd about the sources."""

    by_key: Mapping[str, Value]
    warnings: tuple[str, ...]
    restored: bool = False
    """The file is a snapshot that nobody named."""

    def __getitem__(self, key: str) -> Value:
        return self.by_key[key]


def key_is_secret(name: str) -> bool:
    """Tell whether a key's value must not be printed; unknown keys that sound like secrets count."""
    if name in KEYS:
        return KEYS[name].secret
    return any(word in name.lower() for word in ("pass", "secret", "token", "key"))


def effective_values(
    *, flags: Mapping[str, tuple[str, str]], environment: Mapping[str, str], file: PropertiesFile, file_name: str
) -> Values:
    """Return the winning value of every key.

    Args:
        flags: key -> (value, the flag's spelling), only those that were given.
        environment: variables; those of keys count only if ``enable_envvars_config`` is true in the file.
        file: the parsed config.properties; empty if there is none.
        file_name: its name, for the sources.
    """
    warnings = list(file.warnings)
    values = {name: Value(name, key.default, "default") for name, key in KEYS.items()}
    for name, entry in file.entries.items():
        where = f"{file_name} line {entry.line}"
        if name not in KEYS:
            warnings.append(f"{where}: unknown key {name} has no effect{likely_meant(name, KEYS)}")
        values[name] = Value(name, entry.value, where)
    for name, (text, flag) in flags.items():
        values[name] = Value(name, text, f"flag {flag}")
    if values["enable_envvars_config"].boolean():
        for name, key in KEYS.items():
            if name == "allowed_urls" and not values["use_env_allowed_urls"].boolean():
                if key.environment in environment:
                    warnings.append(f"{key.environment} has no effect: use_env_allowed_urls is not true")
                continue
            if key.environment and key.environment in environment:
                values[name] = Value(name, environment[key.environment], f"environment {key.environment}")
        warnings.extend(_unknown_variables(environment))
    for name, value in values.items():
        if name in KEYS and KEYS[name].kind == "boolean" and value.text.strip().lower() not in ("true", "false"):
            warnings.append(f'{name} ({value.source}): "{value.text}" is neither true nor false and counts as false')
    return Values(values, tuple(warnings))


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    known = {key.environment for key in KEYS.values() if key.environment} | OTHER_VARIABLES
    return [
        f"environment: {name} is no setting{likely_meant(name, known)}"
        for name in sorted(environment)
        if name.startswith("TS_") and name not in known
    ]
