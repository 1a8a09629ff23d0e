"""Read a model from Hugging Face's hub, or whatever speaks like it (HF_ENDPOINT)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

from flambeau.foundation.errors import NotFound, TooLarge, Unavailable
from flambeau.foundation.files import is_safe_relative
from flambeau.storage import credentials as names
from flambeau.storage.connection import ca_bundle, endpoint_of
from flambeau.storage.model import Credentials, RemoteFile
from flambeau.storage.object_errors import unsafe_key
from flambeau.storage.objects import OBJECTS_MAX
from flambeau.storage.uri import HubUri
from flambeau.storage.web_client import Site, WebClient

ENDPOINT_DEFAULT = "https://huggingface.co"


class HubSource:
    """A repository of the hub at one revision.

    A branch is looked up once, so that all files are of one commit even when somebody pushes meanwhile.

    Args:
        uri: which.
        credentials: HF_TOKEN, for models that aren't public.
    """

    def __init__(self, uri: HubUri, credentials: Credentials) -> None:
        self._uri = uri
        self._endpoint = endpoint_of(credentials, names.HUB_ENDPOINT) or ENDPOINT_DEFAULT
        token = credentials.get(names.HUB_TOKEN)
        self._client = WebClient(
            Site(
                kind="Hugging Face",
                url=self._endpoint,
                headers={"Authorization": f"Bearer {token}"} if token else {},
                identity=credentials.source(names.HUB_TOKEN) or "anonymous, no HF_TOKEN is given",
                login_hint=f"the model may not exist, be private, or ask to accept its terms at {self._endpoint}/{uri.repository}; "
                "a Secret with HF_TOKEN gives access",
                ca_bundle=ca_bundle(credentials),
                warnings=credentials.warnings,
            )
        )
        self._commit = ""

    def facts(self) -> dict[str, str]:
        """Return where it is and who asks."""
        return self._client.site.facts()

    async def list_files(self) -> list[RemoteFile]:
        """Return the files of the revision's commit."""
        uri = self._uri
        url = f"{self._endpoint}/api/models/{uri.repository}/revision/{quote(uri.revision, safe='')}?blobs=true"
        described = await self._client.document(url, str(uri))
        try:
            self._commit = str(described["sha"])
            entries = described["siblings"]
            files = [self._file(entry) for entry in entries]
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(
                f"cannot read {uri}: {self._endpoint} does not answer as the hub does",
                hint=f"check HF_ENDPOINT ({self._endpoint})",
                reason="EndpointRefused",
            ) from error
        if not files:
            raise NotFound(f"no files in {uri} at {self._endpoint}", hint="check the repository and the revision", reason="NoObjects")
        if len(files) > OBJECTS_MAX:
            raise TooLarge(f"cannot read {uri}: there are more than {OBJECTS_MAX} files", reason="TooManyObjects")
        for file in files:
            if not is_safe_relative(file.name):
                raise unsafe_key(file.name, str(uri))
        return sorted(files, key=lambda file: file.name)

    def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from an offset; the hub redirects large ones to another host, which gets no token."""
        url = f"{self._endpoint}/{self._uri.repository}/resolve/{self._commit}/{quote(file.key)}"
        return self._client.read(url, file, offset, f"hf://{self._uri.repository}:{self._commit[:12]}/{file.key}")

    def _file(self, entry: Any) -> RemoteFile:
        name, large = str(entry["rfilename"]), entry.get("lfs") or {}
        content = str(large.get("sha256") or entry["blobId"])
        size = int(large.get("size", entry["size"]))
        identity = "\n".join((self._endpoint, self._uri.repository, content, str(size)))
        # The commit is part of the address: what lies there can't change, and its etag need not be compared.
        return RemoteFile(name=name, key=name, size=size, etag=None, identity=identity)
