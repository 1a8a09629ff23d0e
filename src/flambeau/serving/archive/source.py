"""From the ``url`` of a registration to an archive on this disk: the model store, and addresses that the operator allowed.

``management`` asks. Nothing outside the model store is read, and nothing is fetched unless ``allowed_urls`` names it (rules R1, R2): the
original fetched any address, and served any folder of its machine.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flambeau.foundation.errors import Conflict, InvalidInput, NotFound
from flambeau.foundation.files import is_safe_relative
from flambeau.serving.archive.allowed_address import AllowedAddress
from flambeau.serving.archive.aws_signature import AwsKeys

URL_CHARS_MAX = 4_096
_NOT_THERE = {"Model": "Model not found at", "Workflow": "Workflow not found in workflow store"}
"""TorchServe's words."""
_ADDRESS = re.compile(r"(?:https?|file)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """An archive on this disk."""

    path: Path
    downloaded: bool = False
    """It was brought into the model store for this registration, which removes it when it ends."""


class ArchiveSource:
    """Find archives.

    Args:
        store: the model store, or the workflow store.
        allowed: what may be fetched; empty: nothing.
        aws_keys: sign downloads that ask for it.
        what: what the archives are, ``Model`` or ``Workflow``; errors name it.
    """

    def __init__(
        self, store: Path, allowed: Sequence[AllowedAddress] = (), aws_keys: AwsKeys | None = None, *, what: str = "Model"
    ) -> None:
        self._store = store
        self._what = what
        self._allowed = tuple(allowed)
        self._aws_keys = aws_keys

    async def find(self, url: str, *, signed: bool = False) -> Found:
        """Return the archive that a registration names; an address is downloaded.

        Raises:
            NotFound: nothing is there, or the address is not allowed.
            InvalidInput: the address cannot be downloaded.
            Conflict: the model store has a file of that name already.
        """
        if not url:
            raise self._not_found("empty url", hint=f"name an archive in the {self._what.lower()} store")
        if len(url) > URL_CHARS_MAX:
            raise InvalidInput(f"the url is over {URL_CHARS_MAX} characters")
        if ".." in url:
            raise self._not_found(f"Relative path is not allowed in url: {url}")
        if _ADDRESS.match(url):
            return Found(await self._fetch(url, signed=signed), downloaded=True)
        path = await asyncio.to_thread(self._in_store, url)
        if path is None:
            raise self._not_found(f"{_NOT_THERE[self._what]}: {url}", hint=f"archives are read from the {self._what.lower()} store only")
        return Found(path)

    def _in_store(self, url: str) -> Path | None:
        path = Path(url)
        if path.is_absolute():
            inside = path.is_relative_to(self._store) or path.resolve().is_relative_to(self._store.resolve())
            return path if inside and path.exists() else None
        for name in (url, path.name):
            if is_safe_relative(name) and (self._store / name).exists():
                return self._store / name
        return None

    async def _fetch(self, url: str, *, signed: bool) -> Path:
        rule = self.rule_for(url)
        if rule is None:
            raise self._not_found(
                f"Given URL {url} does not match any allowed URL(s)",
                hint=f"nothing is downloaded unless allowed_urls allows it; or put the archive into the {self._what.lower()} store",
            )
        name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
        if not is_safe_relative(name) or name.startswith("."):
            raise InvalidInput(f"the url {url} names no file", reason="DownloadFailed")
        target = self._store / name
        if target.exists():
            raise Conflict(f"{self._what} file already exists {name}", hint="register it by its name, or remove it", reason="FileExists")
        from flambeau.serving.archive.download import copy_file, download  # noqa: PLC0415 - the HTTP client costs every server 12 MB

        if url.lower().startswith("file://"):
            await asyncio.to_thread(copy_file, url, target)
        elif signed and self._aws_keys is None:
            raise InvalidInput(
                "s3_sse_kms needs AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION in the server's environment",
                reason="DownloadFailed",
            )
        else:
            await download(url, target, rule_for=self.rule_for, keys=self._aws_keys if signed else None)
        return target

    def rule_for(self, url: str) -> AllowedAddress | None:
        """Return the first rule that allows an address."""
        return next((rule for rule in self._allowed if rule.matches(url)), None)

    def _not_found(self, message: str, *, hint: str | None = None) -> NotFound:
        return NotFound(message, hint=hint, reason=f"{self._what}NotFound")
