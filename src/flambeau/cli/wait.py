"""``flambeau wait``: until a condition holds, a field has a value, or an object is gone."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

from cyclopts import Parameter

from flambeau.cli import show
from flambeau.cli.api import Api, ResourceType
from flambeau.cli.target import HERE, Target
from flambeau.foundation.errors import InvalidInput, NotFound, TimedOut

_POLL_SECONDS = 0.2


def wait(
    what: str,
    name: str | None = None,
    /,
    *,
    for_: Annotated[str, Parameter(name="--for")] = "condition=Ready",
    timeout: Annotated[str, Parameter(name="--timeout")] = "60s",
    target: Target = HERE,
) -> int:
    """Wait until something is so; while waiting, say what is missing.

    Parameters
    ----------
    what
        Kind, such as `isvc`, or `kind/name`.
    name
        The object, such as `wait isvc mnist-torchserve`.
    for_
        `condition=Ready`, `condition=Ready=False`, `jsonpath={.status.url}=http://...`, or `delete`.
    timeout
        How long, such as `30s` or `2m`.
    """
    if "/" in what:
        what, _, name = what.partition("/")
    if not name:
        raise InvalidInput("say which object to wait for", hint="for example `flambeau wait isvc/mnist-torchserve`")
    deadline = time.monotonic() + seconds_of(timeout)
    with target.open() as api:
        kind = api.type_named(what)
        shown = ""
        while True:
            done, missing = _look(api, kind, name, for_)
            if done:
                print(f"{kind.label}/{name} {'deleted' if for_ == 'delete' else 'condition met'}")
                return 0
            if missing != shown and sys.stderr.isatty():
                print(f"waiting: {missing}", file=sys.stderr)
            shown = missing
            if time.monotonic() > deadline:
                raise TimedOut(f"timed out after {timeout} waiting for {for_} on {kind.label}/{name}", hint=missing)
            time.sleep(_POLL_SECONDS)


def _look(api: Api, kind: ResourceType, name: str, wanted: str) -> tuple[bool, str]:
    """Return whether it is so, and what is missing."""
    try:
        obj = api.get(kind.path(api.namespace, name))
    except NotFound:
        if wanted == "delete":
            return True, ""
        raise
    form, _, rest = wanted.partition("=")
    if form == "delete":
        return False, "it is still there"
    if form == "condition":
        condition, _, value = rest.partition("=")
        return _condition(obj, condition, value or "True")
    if form == "jsonpath":
        path, _, value = rest.rpartition("=")
        found = show.by_jsonpath(obj, path or rest)
        return (found == value if path else bool(found)), f"{path or rest} is {found!r}"
    raise InvalidInput(f"cannot wait for {wanted!r}", hint="use condition=NAME, jsonpath={.field}=value or delete")


def _condition(obj: dict[str, Any], name: str, wanted: str) -> tuple[bool, str]:
    for condition in obj.get("status", {}).get("conditions", []):
        if condition["type"].lower() == name.lower():
            reason = ": ".join(part for part in (condition.get("reason"), condition.get("message")) if part)
            return condition["status"].lower() == wanted.lower(), f"{condition['type']} is {condition['status']} {reason}".rstrip()
    return False, f"there is no condition {name} yet"


def seconds_of(text: str) -> float:
    """Read a length of time: 30s, 2m, 1h, 500ms, or plain seconds.

    Raises:
        InvalidInput: it is something else.
    """
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    for unit, factor in units.items():
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return float(number) * factor
    if text.replace(".", "", 1).isdigit():
        return float(text)
    raise InvalidInput(f"{text!r} is not a length of time", hint="write it as 30s, 2m or 1h")
