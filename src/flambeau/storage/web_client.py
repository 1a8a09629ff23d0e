"""Ask a web server for files: redirects, ranges and deadlines, and one sentence for whatever goes wrong.

Used by the schemes that have no client library here (``https``, ``hf``, ``hdfs``). httpx2's exceptions end here.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from flambeau.foundation.errors import Conflict, Denied, FlambeauError, InvalidInput, NotFound, Unavailable
from flambeau.storage.model import RemoteFile
from flambeau.storage.pinning import PinnedTransport, check, proxy_for
from flambeau.storage.place import address_of

CONNECT_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 15.0
"""For a whole small answer, redirects included."""
SILENCE_SECONDS_MAX = 10.0
"""Without a byte."""
FILE_SECONDS_MAX = 6 * 3600.0
"""For one file; a download that was cut is resumed by its caller."""
REDIRECTS_MAX = 5
DOCUMENT_BYTES_MAX = 32 << 20
"""Of a listing."""
CHUNK_BYTES = 1 << 20
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Site:
    """A web server as one identity sees it."""

    kind: str
    """``the web server``, ``Hugging Face``: for people."""
    url: str
    """Where it is; its host and scheme alone get the headers."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    identity: str = "anonymous"
    """Who asks, for people."""
    login_hint: str = ""
    """How to be somebody else."""
    verify_tls: bool = True
    ca_bundle: bytes | None = None
    client_certificate: bytes | None = field(default=None, repr=False)
    """With its key, in PEM."""
    warnings: tuple[str, ...] = ()

    def facts(self) -> dict[str, str]:
        """Return what a person asks first when a fetch fails, each in a few words."""
        parts = urlsplit(self.url)
        tls = "none, plain HTTP" if parts.scheme == "http" else "verified" if self.verify_tls else "not verified"
        return {"identity": self.identity, "endpoint": f"{parts.scheme}://{address_of(self.url)}", "tls": tls}


class WebClient:
    """Ask one site.

    Args:
        site: where, and as whom.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._trust = _trust(site)

    async def document(self, url: str, what: str) -> Any:
        """Return a JSON answer.

        Raises:
            FlambeauError: as ``opened``; or Unavailable: it is no JSON, or longer than DOCUMENT_BYTES_MAX (EndpointRefused).
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX), self.opened(url, what) as answer:
                body = b""
                async for block in answer.aiter_raw(CHUNK_BYTES):
                    body += block
                    if len(body) > DOCUMENT_BYTES_MAX:
                        raise self._refused(what, f"its answer is longer than {DOCUMENT_BYTES_MAX} bytes")
            return httpx2.Response(200, content=body).json()
        except TimeoutError as error:
            raise self._unreachable(what, url, "no answer in time") from error
        except ValueError as error:
            raise self._refused(what, "its answer is no JSON") from error

    async def read(self, url: str, file: RemoteFile, offset: int, what: str) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from an offset, as long as it is still the one that was listed.

        A server that takes no ranges sends all of it again, and what is known already is passed over.

        Raises:
            FlambeauError: as ``opened``; Conflict: the file changed since it was listed (ObjectChanged).
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            async with asyncio.timeout(FILE_SECONDS_MAX), self.opened(url, what, headers) as answer:
                etag = answer.headers.get("etag")
                if file.etag and etag and etag != file.etag:
                    raise changed(what)
                skip = 0
                if offset and answer.status_code == 206:
                    if not answer.headers.get("content-range", "").startswith(f"bytes {offset}-"):
                        raise self._refused(what, "it answered with another range than it was asked for")
                elif offset:
                    skip = offset
                async for block in answer.aiter_raw(CHUNK_BYTES):
                    wanted = block[skip:]
                    skip = max(0, skip - len(block))
                    if wanted:
                        yield wanted
        except TimeoutError as error:
            raise self._unreachable(what, url, "no end in time") from error

    async def read_at(self, url: str, what: str) -> AsyncGenerator[bytes, None]:
        """Yield an answer's bytes, where the address itself says from which offset; raises what ``read`` raises."""
        whole = RemoteFile(name="", key=url, size=0, etag=None, identity="")
        async with aclosing(self.read(url, whole, 0, what)) as chunks:
            async for chunk in chunks:
                yield chunk

    @asynccontextmanager
    async def opened(self, url: str, what: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[httpx2.Response]:
        """Open an answer with status 200 or 206, redirects followed; the body is read by the caller.

        The site's own headers go to the site alone: a redirect elsewhere loses them.

        Raises:
            Denied: 401 or 403 (StorageAccessDenied).
            NotFound: 404 or 410 (NoObjects).
            Conflict: 412 or 416, the file is not what it was (ObjectChanged).
            Unavailable: anything else (EndpointUnreachable, TlsFailure, EndpointUnavailable, EndpointRefused).
        """
        async with self._followed(url, what, headers) as (answer, where):
            if answer.status_code not in (200, 206):
                raise self._answered(answer, where, what)
            yield answer

    async def settled(self, url: str, what: str) -> str:
        """Return where an address leads in the end, whatever is answered there.

        Raises:
            Unavailable: it can't be asked, or redirects where nothing is fetched from (EndpointUnreachable, TlsFailure, EndpointRefused).
        """
        async with self._followed(url, what, None) as (_, where):
            return where

    @asynccontextmanager
    async def _followed(self, url: str, what: str, headers: Mapping[str, str] | None) -> AsyncIterator[tuple[httpx2.Response, str]]:
        """Open the first answer that is no redirect, with the address that gave it."""
        try:
            for _ in range(REDIRECTS_MAX + 1):
                own = self.site.headers if _origin(url) == _origin(self.site.url) else {}
                plain = {"Accept-Encoding": "identity", "User-Agent": "flambeau"}
                async with (
                    await self._client(url) as client,
                    client.stream("GET", url, headers={**plain, **own, **(headers or {})}) as answer,
                ):
                    if answer.status_code in _REDIRECTS and answer.headers.get("location"):
                        url = self._next(url, answer.headers["location"], what)
                        continue
                    yield answer, url
                    return
            raise self._refused(what, f"it redirects more than {REDIRECTS_MAX} times")
        except httpx2.TimeoutException as error:
            raise self._unreachable(what, url, "no answer in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise self._failed(what, url, error) from error

    async def _client(self, url: str) -> httpx2.AsyncClient:
        """Return a client for one address: it connects to what was checked, or to the proxy that the environment names."""
        timeout = httpx2.Timeout(SILENCE_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)
        proxy = proxy_for(url)
        if proxy is None:
            return httpx2.AsyncClient(transport=PinnedTransport(self._trust), timeout=timeout, trust_env=False)
        await check(url)
        return httpx2.AsyncClient(proxy=proxy, verify=self._trust, timeout=timeout, trust_env=False)

    def _next(self, url: str, location: str, what: str) -> str:
        target = urljoin(url, location)
        schemes = urlsplit(url).scheme, urlsplit(target).scheme
        if schemes[1] not in ("http", "https") or schemes == ("https", "http"):
            raise self._refused(what, f"it redirects to {schemes[1] or 'nothing'}:, which is not followed")
        return target

    def _answered(self, answer: httpx2.Response, url: str, what: str) -> FlambeauError:
        """Return the error for a status."""
        status, site = answer.status_code, self.site
        where = address_of(url)
        if status in (401, 403):
            return Denied(
                f"cannot read {what}: access is refused (HTTP {status} from {where}; {site.identity})",
                hint="; ".join(filter(None, (site.login_hint, *site.warnings))) or None,
                reason="StorageAccessDenied",
            )
        if status in (404, 410):
            return NotFound(
                f"cannot read {what}: it is not there (HTTP {status} from {where})", hint="check the storage URI", reason="NoObjects"
            )
        if status in (412, 416):
            return changed(what)
        if status in _BUSY:
            return Unavailable(f"cannot read {what}: {where} answered HTTP {status}", reason="EndpointUnavailable")
        return self._refused(what, f"{where} answered HTTP {status}")

    def _failed(self, what: str, url: str, error: Exception) -> Unavailable:
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return Unavailable(
                f"cannot reach {self.site.kind} {address_of(url)} for {what}: its TLS certificate is not trusted",
                hint="name its CA in the ConfigMap that inferenceservice-config's caBundleConfigMapName names",
                reason="TlsFailure",
            )
        if isinstance(error, httpx2.ConnectError) and ("WRONG_VERSION_NUMBER" in text or "record layer failure" in text):
            return Unavailable(
                f"cannot reach {self.site.kind} {address_of(url)} for {what}: it does not speak TLS",
                hint="write http:// for a plain server",
                reason="TlsFailure",
            )
        cause = "the connection was cut" if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError) else text
        return self._unreachable(what, url, cause)

    def _unreachable(self, what: str, url: str, cause: str) -> Unavailable:
        return Unavailable(
            f"cannot reach {self.site.kind} {address_of(url)} for {what}: {cause}",
            hint="check that its address is right and that it is running",
            reason="EndpointUnreachable",
        )

    def _refused(self, what: str, cause: str) -> Unavailable:
        hint = f"is {self.site.facts()['endpoint']} the right server?"
        return Unavailable(f"cannot read {what}: {cause}", hint=hint, reason="EndpointRefused")


def changed(what: str) -> Conflict:
    """Return the error for a file that is another one than was listed."""
    return Conflict(
        f"cannot read {what}: it changed while the model was fetched",
        hint="upload models under a new name, or try again once the upload has ended",
        reason="ObjectChanged",
    )


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, address_of(url)


def _trust(site: Site) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not site.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if site.ca_bundle:
        try:
            context.load_verify_locations(cadata=site.ca_bundle.decode())
        except (ssl.SSLError, ValueError) as error:
            raise InvalidInput(f"cannot use the CA bundle for {site.url}: {error}", reason="InvalidStorageConfig") from error
    if site.client_certificate:
        with tempfile.NamedTemporaryFile() as file:  # only from a file are keys read; this one is nobody else's, and goes at once
            file.write(site.client_certificate)
            file.flush()
            try:
                context.load_cert_chain(file.name)
            except ssl.SSLError as error:
                raise InvalidInput(f"cannot use the client certificate for {site.url}: {error}", reason="InvalidStorageConfig") from error
    return context
