"""Who may use which door: one key for inference, one for management, one that makes new ones.

HTTP and gRPC ask the same object. Keys are made at the start, written to a file that only this user reads, and expire; or they are given
(environment, a mounted secret) and then neither change nor expire, which is what a container can use. Compared in constant time.
"""

from __future__ import annotations

import datetime
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flambeau.foundation.errors import Denied, InvalidInput, Unavailable
from flambeau.foundation.files import write_atomically
from flambeau.serving.frontends.routes import Page, Plane

KEY_BYTES = 24
"""Of a key that is made here; TorchServe's have 6."""
API_KEY = "API"
"""Opens ``/token`` and nothing else; never expires."""

_PLANES = {Plane.INFERENCE: "inference", Plane.MANAGEMENT: "management"}
_OPEN_PAGES = frozenset({Page.LIVE, Page.READY, Page.API_DESCRIPTION, Page.METRICS, Page.TOKEN})
"""Need no key: probers have none, and get no more than yes or no; scrapers have none either; TOKEN looks for itself."""
_BEARER = re.compile(rb"Bearer\s+(\S+)")


@dataclass(frozen=True, slots=True)
class KeySettings:
    """Where keys come from."""

    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Key by its name (``inference``, ``management``, ``API``); empty: keys are made."""
    file: Path = Path("key_file.json")
    """Where made keys are written."""
    lifetime_seconds: float = 3_600.0
    """Of a made key."""


@dataclass(frozen=True, slots=True)
class _Key:
    secret: bytes = field(repr=False)
    expires_at: float | None = None
    """Seconds since the epoch; None: never."""


class Tokens:
    """Check keys, and make new ones.

    Args:
        settings: where keys come from.
        clock: seconds since the epoch.
    """

    def __init__(self, settings: KeySettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._keys = {name: _Key(secret.encode()) for name, secret in settings.given.items()}

    def start(self) -> None:
        """Make the keys, if none are given, and write their file.

        Raises:
            Unavailable: the file cannot be written.
        """
        if self._keys:
            return
        for name in _PLANES.values():
            self._keys[name] = self._made()
        self._keys[API_KEY] = _Key(secrets.token_urlsafe(KEY_BYTES).encode())
        self._write()

    def close(self) -> None:
        """Remove the file of made keys, if it is still this server's."""
        file = self._settings.file
        if not self._settings.given and file.is_file() and file.read_bytes() == self._document():
            file.unlink(missing_ok=True)

    @staticmethod
    def are_needed_for(page: Page, method: str) -> bool:
        """Tell whether a page needs a key."""
        return page not in _OPEN_PAGES and not (page is Page.ROOT and method == "OPTIONS")

    def opens(self, planes: frozenset[Plane], authorization: bytes | None) -> bool:
        """Tell whether a request carries the key of one of these planes.

        Args:
            planes: under which the door has what is asked for; on a shared door inference takes the inference key, management its own.
            authorization: the header's value, ``Bearer KEY``.
        """
        names = [_PLANES[plane] for plane in planes if plane in _PLANES]
        presented = _presented(authorization)
        if presented is None:
            return False
        # Each key is compared, so that the time does not tell which one nearly fits.
        fits = [self._is(name, presented) for name in names]
        return any(fits)

    def check(self, planes: frozenset[Plane], authorization: bytes | None) -> None:
        """Refuse a request that carries no key of these planes.

        Raises:
            Denied: no key, a wrong one, or one that has expired.
        """
        if not self.opens(planes, authorization):
            raise Denied("Token Authorization failed. Token either incorrect, expired, or not provided correctly", reason="InvalidKey")

    def renew(self, kind: str, authorization: bytes | None) -> dict[str, str]:
        """Make the key of a plane anew; the old one opens nothing any more.

        Args:
            kind: ``inference`` or ``management``.
            authorization: must carry the API key.

        Returns:
            The key's entry in the file.

        Raises:
            Denied: the API key is wrong, or the kind is none.
            InvalidInput: the keys are given from outside.
        """
        presented = _presented(authorization)
        if presented is None or not self._is(API_KEY, presented) or kind not in _PLANES.values():
            raise Denied("Token Authentication failed. Token either incorrect, expired, or not provided correctly", reason="InvalidKey")
        if self._settings.given:
            raise InvalidInput("the keys of this server are given from outside and are renewed there", reason="InvalidKey")
        before = self._keys[kind]
        self._keys[kind] = self._made()
        try:
            self._write()
        except Unavailable:
            self._keys[kind] = before
            raise
        return self._entry(kind)

    def _is(self, name: str, presented: bytes) -> bool:
        key = self._keys.get(name)
        if key is None:
            return False
        alive = key.expires_at is None or self._clock() < key.expires_at
        return hmac.compare_digest(key.secret, presented) and alive

    def _made(self) -> _Key:
        return _Key(secrets.token_urlsafe(KEY_BYTES).encode(), self._clock() + self._settings.lifetime_seconds)

    def _entry(self, name: str) -> dict[str, str]:
        key = self._keys[name]
        entry = {"key": key.secret.decode()}
        if key.expires_at is not None:
            moment = datetime.datetime.fromtimestamp(key.expires_at, tz=datetime.UTC)
            entry["expiration time"] = f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z"
        return entry

    def _document(self) -> bytes:
        return json.dumps({name: self._entry(name) for name in ("management", "inference", API_KEY)}, indent=2).encode()

    def _write(self) -> None:
        file = self._settings.file
        try:
            write_atomically(file, self._document(), mode=0o600)
        except OSError as error:
            raise Unavailable(
                f"cannot write the keys to {file}: {error.strerror}",
                hint="give the keys in FLAMBEAU_INFERENCE_KEY and FLAMBEAU_MANAGEMENT_KEY, or start with --disable-token-auth",
            ) from error


def _presented(authorization: bytes | None) -> bytes | None:
    match = _BEARER.fullmatch(authorization or b"")
    return match.group(1) if match else None
