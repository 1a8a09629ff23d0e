"""Query parameters, checked once. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from flambeau.foundation.errors import InvalidInput

FieldValidation = Literal["Strict", "Warn", "Ignore"]

_INTEGER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a GET of a collection says."""

    labels: str
    fields: str
    limit: int
    """Objects of one answer; 0 is all."""
    continue_from: str
    watch: bool
    resource_version: int | None
    """None where it isn't given or is 0: any state will do."""
    timeout_seconds: int
    """0 where it isn't given."""
    bookmarks: bool
    initial_events: bool

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> ListQuery:
        """Return the query.

        Raises:
            InvalidInput: a value isn't of its type.
        """
        return cls(
            labels=parameters.get("labelSelector", ""),
            fields=parameters.get("fieldSelector", ""),
            limit=integer(parameters, "limit") or 0,
            continue_from=parameters.get("continue", ""),
            watch=flag(parameters, "watch"),
            resource_version=integer(parameters, "resourceVersion") or None,
            timeout_seconds=integer(parameters, "timeoutSeconds") or 0,
            bookmarks=flag(parameters, "allowWatchBookmarks"),
            initial_events=flag(parameters, "sendInitialEvents"),
        )


@dataclass(frozen=True, slots=True)
class WriteQuery:
    """What a write says."""

    dry_run: bool
    field_validation: FieldValidation
    field_manager: str
    force: bool

    @classmethod
    def parse(cls, parameters: Mapping[str, str], user_agent: str) -> WriteQuery:
        """Return the query.

        Args:
            parameters: of the URL.
            user_agent: its first word is the field manager where none is named, as in Kubernetes.

        Raises:
            InvalidInput: a value isn't one that Kubernetes knows.
        """
        dry_run, validation = parameters.get("dryRun", ""), parameters.get("fieldValidation", "") or "Warn"
        if dry_run not in ("", "All"):
            raise InvalidInput(f"invalid dryRun {dry_run!r}", hint="All is the only value there is")
        if validation not in ("Strict", "Warn", "Ignore"):
            raise InvalidInput(f"invalid fieldValidation {validation!r}", hint="Strict, Warn or Ignore")
        manager = parameters.get("fieldManager") or user_agent.partition("/")[0] or "unknown"
        if len(manager) > 128 or not manager.isprintable():
            raise InvalidInput("fieldManager must be at most 128 printable characters")
        checked: FieldValidation = "Strict" if validation == "Strict" else "Ignore" if validation == "Ignore" else "Warn"
        return cls(dry_run == "All", checked, manager, flag(parameters, "force"))


def flag(parameters: Mapping[str, str], name: str) -> bool:
    """Return a yes or no; a parameter without a value is a yes.

    Raises:
        InvalidInput: it is neither.
    """
    value = parameters.get(name, "false").lower()
    if value not in ("true", "1", "", "false", "0"):
        raise InvalidInput(f"query parameter {name} must be true or false, not {value!r}")
    return value in ("true", "1", "")


def integer(parameters: Mapping[str, str], name: str) -> int | None:
    """Return a number of 0 or more, or None where the parameter isn't given.

    Raises:
        InvalidInput: it is no such number.
    """
    value = parameters.get(name, "")
    if not value:
        return None
    if not (value.isascii() and value.isdigit()) or len(value) > 19 or int(value) > _INTEGER_MAX:
        raise InvalidInput(f"query parameter {name} must be a whole number of 0 or more, not {value!r}")
    return int(value)
