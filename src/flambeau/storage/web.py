"""Read a model from a web server: one file, or an archive of the model."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping

from flambeau.foundation.errors import InvalidInput, Unavailable
from flambeau.storage import credentials as names
from flambeau.storage.connection import ca_bundle
from flambeau.storage.model import SIZE_UNKNOWN, Credentials, RemoteFile
from flambeau.storage.uri import WebUri
from flambeau.storage.web_client import Site, WebClient

_PAGE_TYPES = ("text/html", "application/xhtml+xml")
_PAGE_SUFFIXES = (".html", ".htm", ".xhtml")


class WebSource:
    """The file at a web address.

    Args:
        uri: which.
        credentials: ``<host>-headers`` are sent to that host.
    """

    def __init__(self, uri: WebUri, credentials: Credentials) -> None:
        self._uri = uri
        self._client = WebClient(_site(uri, credentials))

    def facts(self) -> dict[str, str]:
        """Return where it is and who asks."""
        return self._client.site.facts()

    async def list_files(self) -> list[RemoteFile]:
        """Ask for the file without reading it; its size may be unknown."""
        what = str(self._uri)
        async with self._client.opened(self._uri.url, what) as answer:
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            length = answer.headers.get("content-length", "")
            etag = answer.headers.get("etag")
            version = etag or answer.headers.get("last-modified") or ""
        if kind in _PAGE_TYPES and not self._uri.file_name.lower().endswith(_PAGE_SUFFIXES):
            raise Unavailable(
                f"cannot read {what}: a web page came ({kind}) instead of a file",
                hint="it may be a login or an error page: look at it in a browser, and use the address of the file itself",
                reason="EndpointRefused",
            )
        size = int(length) if length.isdigit() else SIZE_UNKNOWN
        # Without a version, the next fetch can't tell whether it is still the same file: the bytes are asked for again.
        identity = "\n".join((self._uri.url, version, str(size))) if version else ""
        return [RemoteFile(name=self._uri.file_name, key=what, size=size, etag=etag, identity=identity)]

    def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield the file's bytes from an offset."""
        return self._client.read(self._uri.url, file, offset, str(self._uri))


def _site(uri: WebUri, credentials: Credentials) -> Site:
    name = next((each for each in credentials.settings if each.lower() == f"{uri.host}{names.HEADERS_SUFFIX}"), None)
    headers = {} if name is None else _headers(credentials, name)
    return Site(
        kind="the web server",
        url=uri.url,
        headers=headers,
        identity=f"headers {', '.join(sorted(headers))} of {credentials.source(name)}" if name else "no headers of a Secret",
        login_hint=f"a Secret with https-host: {uri.host} and headers gives them",
        ca_bundle=ca_bundle(credentials),
        warnings=credentials.warnings,
    )


def _headers(credentials: Credentials, name: str) -> Mapping[str, str]:
    try:
        headers = json.loads(credentials.settings[name].value)
        if isinstance(headers, dict) and all(isinstance(value, str) for value in headers.values()):
            return headers
    except ValueError:
        pass
    raise InvalidInput(
        f"cannot use {name}: it is no JSON object of texts", hint=f"it comes from {credentials.source(name)}", reason="InvalidStorageConfig"
    )
