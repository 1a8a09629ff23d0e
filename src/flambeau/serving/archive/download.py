"""Bring one archive over HTTP(S), or from a ``file://``, into the model store: whole or not at all.

It is written beside its place under a hidden name and linked there when it is complete. Every address on the way, redirects included,
must be allowed; its name is resolved once and that address is connected to, so that nobody can answer the check and the request
differently. Imported with the first download only: the HTTP client costs 12 MB.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urljoin, urlsplit

import httpx2

from flambeau.foundation.errors import Conflict, FlambeauError, InvalidInput, NotFound
from flambeau.serving.archive.allowed_address import AllowedAddress
from flambeau.serving.archive.aws_signature import AwsKeys, signed_headers
from flambeau.storage.destinations import is_forbidden

ARCHIVE_BYTES_MAX = 64 * 1024**3
"""As much as an archive may expand to."""
DOWNLOAD_SECONDS_MAX = 3_600.0
CONNECT_SECONDS_MAX = 10.0
IDLE_SECONDS_MAX = 60.0
"""Without a byte."""
REDIRECTS_MAX = 5


RuleFor = Callable[[str], AllowedAddress | None]


async def download(url: str, target: Path, *, rule_for: RuleFor, keys: AwsKeys | None = None) -> None:
    """Download an archive to where nothing is yet.

    Args:
        url: allowed by a rule.
        target: in the model store.
        rule_for: finds the rule that allows an address; asked again for each redirect.
        keys: sign the request for S3 with these.

    Raises:
        InvalidInput: the server cannot be reached, answers anything but 200, or sends too much or too slowly.
        NotFound: a redirect leads to an address that is not allowed.
        Conflict: somebody else has put a file there meanwhile.

    Cancel: nothing is left.
    """
    try:
        with _hidden_file(target) as (file, path):
            async with asyncio.timeout(DOWNLOAD_SECONDS_MAX), _client() as client:
                await _get(client, url, file, rule_for, keys)
            _put_in_place(path, target)
    except TimeoutError as error:
        raise _failed(url, f"it took more than {DOWNLOAD_SECONDS_MAX:.0f} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _failed(url, str(error) or type(error).__name__) from error
    except OSError as error:
        raise _failed(url, error.strerror or str(error)) from error


def copy_file(url: str, target: Path) -> None:
    """Copy the archive that a ``file://`` address names to where nothing is yet.

    Raises:
        InvalidInput: it is no readable file.
        Conflict: somebody else has put a file there meanwhile.
    """
    parts = urlsplit(url)
    source = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not source.is_file():
        raise _failed(url, "there is no such file")
    try:
        with _hidden_file(target) as (file, path), source.open("rb") as content:
            shutil.copyfileobj(content, file)
            file.flush()
            _put_in_place(path, target)
    except OSError as error:
        raise _failed(url, error.strerror or str(error)) from error


def _client() -> httpx2.AsyncClient:
    timeout = httpx2.Timeout(IDLE_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)
    return httpx2.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)


async def _get(client: httpx2.AsyncClient, url: str, file: IO[bytes], rule_for: RuleFor, keys: AwsKeys | None) -> None:
    """Write what an address answers to a file, following redirects that are allowed."""
    for _ in range(REDIRECTS_MAX + 1):
        rule = rule_for(url)
        if rule is None:
            raise NotFound(f"Given URL {url} does not match any allowed URL(s)", hint="it came as a redirect", reason="ModelNotFound")
        async with client.stream(**await _request(url, rule, keys)) as answer:
            if answer.is_redirect:
                url, keys = urljoin(url, answer.headers.get("location", "")), None
                continue
            if answer.status_code != 200:
                raise _failed(url, f"it answers {answer.status_code} {answer.reason_phrase}".rstrip())
            await _write(answer, url, file)
            return
    raise _failed(url, f"it redirects more than {REDIRECTS_MAX} times")


async def _request(url: str, rule: AllowedAddress, keys: AwsKeys | None) -> dict[str, Any]:
    """Return the request for an address, bound to the IP address that was checked."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise _failed(url, "it is no http(s) address")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = await _checked_address(url, parts.hostname, port, rule)
    shown = f"[{address}]" if ":" in address else address
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"host": parts.netloc, "accept-encoding": "identity"}
    if keys is not None:
        headers |= signed_headers(keys, host=parts.netloc, path=parts.path or "/", query=parts.query, now=time.time())
    return {
        "method": "GET",
        "url": f"{parts.scheme}://{shown}:{port}{target}",
        "headers": headers,
        "extensions": {"sni_hostname": parts.hostname},
    }


async def _checked_address(url: str, host: str, port: int, rule: AllowedAddress) -> str:
    """Resolve a host and refuse where an archive never is: link-local (cloud metadata), and private unless the rule names the host."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _failed(url, f"{host} is not known: {error.strerror}") from error
    for *_, place in found:
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        plain = getattr(address, "ipv4_mapped", None) or address
        if is_forbidden(str(address)) or plain.is_unspecified or (not plain.is_global and not rule.names(host)):
            raise NotFound(
                f"Given URL {url} does not match any allowed URL(s)",
                hint=f"{host} has a private address, which an expression of allowed_urls must name; link-local ones are never fetched",
                reason="ModelNotFound",
            )
    return str(found[0][4][0])


async def _write(answer: httpx2.Response, url: str, file: IO[bytes]) -> None:
    size = 0
    async for block in answer.aiter_raw(1 << 20):
        size += len(block)
        if size > ARCHIVE_BYTES_MAX:
            raise _failed(url, f"it is over {ARCHIVE_BYTES_MAX} bytes")
        await asyncio.to_thread(file.write, block)
    told = answer.headers.get("content-length", "")
    if told.isdigit() and int(told) != size:
        raise _failed(url, f"it was cut after {size} of {told} bytes")
    await asyncio.to_thread(file.flush)


@contextlib.contextmanager
def _hidden_file(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    handle, name = tempfile.mkstemp(prefix=f".downloading-{target.name[:64]}-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _put_in_place(path: Path, target: Path) -> None:
    try:
        os.link(path, target)  # unlike a rename, never over a file that is there
    except FileExistsError as error:
        raise Conflict(f"Model file already exists {target.name}", reason="FileExists") from error
    target.chmod(0o644)


def _failed(url: str, why: str) -> FlambeauError:
    shown = urlsplit(url)._replace(query="").geturl()  # a query may be a signature
    return InvalidInput(f"Failed to download archive from: {shown}: {why}", reason="DownloadFailed")
