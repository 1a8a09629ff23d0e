"""Read a model from HDFS through its REST interface (WebHDFS)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote, urlencode

from flambeau.foundation.errors import InvalidInput, NotFound, TooLarge, Unavailable
from flambeau.foundation.files import is_safe_relative
from flambeau.storage import credentials as names
from flambeau.storage.connection import ca_bundle, endpoint_of
from flambeau.storage.model import Credentials, RemoteFile
from flambeau.storage.object_errors import unsafe_key
from flambeau.storage.objects import OBJECTS_MAX
from flambeau.storage.uri import HdfsUri
from flambeau.storage.web_client import Site, WebClient

FOLDERS_MAX = 10_000


class HdfsSource:
    """A file or directory of HDFS.

    Args:
        uri: which.
        credentials: HDFS_NAMENODE, and who asks.
    """

    def __init__(self, uri: HdfsUri, credentials: Credentials) -> None:
        self._uri = uri
        namenode = endpoint_of(credentials, names.HDFS_NAMENODE)
        if namenode is None:
            raise InvalidInput(
                f"cannot read {uri}: {names.HDFS_NAMENODE} is not set",
                hint="name a Secret with HDFS_NAMENODE: http(s)://HOST:PORT in the ServiceAccount's secrets",
                reason="InvalidStorageConfig",
            )
        if credentials.get(names.HDFS_KERBEROS):
            raise InvalidInput(
                f"cannot read {uri}: Kerberos is not supported",
                hint=f"{names.HDFS_KERBEROS} comes from {credentials.source(names.HDFS_KERBEROS)}; use a gateway that takes HEADERS",
                reason="InvalidStorageConfig",
            )
        self._namenode = namenode
        self._root = "/" + (credentials.get(names.HDFS_ROOT) or "").strip("/")
        self._user = credentials.get(names.HDFS_USER)
        self._client = WebClient(
            Site(
                kind="the HDFS name node",
                url=namenode,
                headers=_headers(credentials),
                identity=f"user {self._user}" if self._user else "no USER_PROXY is given",
                login_hint="set USER_PROXY or HEADERS in the Secret with HDFS_NAMENODE",
                verify_tls=(credentials.get(names.HDFS_SKIP_VERIFY) or "false").lower() not in ("1", "true"),
                ca_bundle=(credentials.get(names.HDFS_CA) or "").encode() or ca_bundle(credentials),
                client_certificate=_certificate(credentials),
                warnings=credentials.warnings,
            )
        )

    def facts(self) -> dict[str, str]:
        """Return where it is and who asks."""
        return self._client.site.facts()

    async def list_files(self) -> list[RemoteFile]:
        """Return the file, or the files below the directory."""
        top = await self._statuses(self._uri.path)
        if len(top) == 1 and not top[0]["pathSuffix"]:
            name = self._uri.path.rpartition("/")[2]
            return [self._file(name, self._uri.path, top[0])]
        files: list[RemoteFile] = []
        folders = [("", top)]
        for number, (folder, statuses) in enumerate(folders):
            if number >= FOLDERS_MAX or len(files) > OBJECTS_MAX:
                raise TooLarge(f"cannot read {self._uri}: there are too many files", hint="name a longer path", reason="TooManyObjects")
            for status in statuses:
                name = f"{folder}{status['pathSuffix']}"
                if not is_safe_relative(name):
                    raise unsafe_key(name, str(self._uri))
                path = f"{self._uri.path}/{name}"
                if status["type"] == "DIRECTORY":
                    folders.append((f"{name}/", await self._statuses(path)))
                else:
                    files.append(self._file(name, path, status))
        if not files:
            raise NotFound(f"no files under {self._uri} at {self._namenode}", hint="check the storage URI", reason="NoObjects")
        return sorted(files, key=lambda file: file.name)

    def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from an offset; the name node sends the reader on to a data node."""
        return self._client.read_at(self._url(file.key, "OPEN", offset=str(offset)), f"hdfs:/{file.key}")

    async def _statuses(self, path: str) -> list[dict[str, Any]]:
        answer = await self._client.document(self._url(path, "LISTSTATUS"), f"hdfs:/{path}")
        try:
            return [
                {
                    "pathSuffix": str(each["pathSuffix"]),
                    "type": each["type"],
                    "length": int(each["length"]),
                    "time": each["modificationTime"],
                }
                for each in answer["FileStatuses"]["FileStatus"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(
                f"cannot read hdfs:/{path}: {self._namenode} does not answer as WebHDFS does",
                hint=f"check {names.HDFS_NAMENODE}",
                reason="EndpointRefused",
            ) from error

    def _url(self, path: str, operation: str, **more: str) -> str:
        query = {"op": operation, **({"user.name": self._user} if self._user else {}), **more}
        return f"{self._namenode}/webhdfs/v1{quote(self._root.rstrip('/') + path)}?{urlencode(query)}"

    def _file(self, name: str, path: str, status: dict[str, Any]) -> RemoteFile:
        identity = "\n".join((self._namenode, self._root, path, str(status["time"]), str(status["length"])))
        return RemoteFile(name=name, key=path, size=status["length"], etag=None, identity=identity)


def _certificate(credentials: Credentials) -> bytes | None:
    """Return the client's certificate with its key, in PEM; None where there is none."""
    certificate, key = credentials.get(names.HDFS_CERTIFICATE), credentials.get(names.HDFS_KEY)
    if bool(certificate) != bool(key):
        there, missing = (names.HDFS_CERTIFICATE, names.HDFS_KEY) if certificate else (names.HDFS_KEY, names.HDFS_CERTIFICATE)
        raise InvalidInput(
            f"cannot use {there} without {missing}", hint=f"it comes from {credentials.source(there)}", reason="InvalidStorageConfig"
        )
    return f"{certificate}\n{key}\n".encode() if certificate else None


def _headers(credentials: Credentials) -> dict[str, str]:
    text = credentials.get(names.HDFS_HEADERS)
    try:
        headers = json.loads(text) if text else {}
        if isinstance(headers, dict) and all(isinstance(value, str) for value in headers.values()):
            return headers
    except ValueError:
        pass
    raise InvalidInput(
        f"cannot use {names.HDFS_HEADERS}: it is no JSON object of texts",
        hint=f"it comes from {credentials.source(names.HDFS_HEADERS)}",
        reason="InvalidStorageConfig",
    )
