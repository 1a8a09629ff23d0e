"""Read models from an object store: what lies under a URI, and its bytes from an offset; write small files. Nothing here touches the disk.

A URI is an object or a directory, never a bare prefix: ``s3://models/mnist`` does not match ``mnist2/``. What differs between the stores
is how a client is made: ``s3``, ``gcs`` and ``azure`` do that. obstore's exceptions end here and there.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import obstore
from obstore.exceptions import BaseError, PreconditionError

from flambeau.foundation.errors import Conflict, InvalidInput, NotFound, TooLarge
from flambeau.foundation.files import is_safe_relative
from flambeau.storage.model import RemoteFile
from flambeau.storage.object_errors import translate, unsafe_key
from flambeau.storage.parallel import for_each
from flambeau.storage.pinning import check
from flambeau.storage.place import Place
from flambeau.storage.uri import AzureUri, GcsUri, S3Uri

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    ObjectStore: TypeAlias = S3Store | GCSStore | AzureStore

ObjectUri: TypeAlias = S3Uri | GcsUri | AzureUri

CONNECT_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 8.0
"""For one page of a listing or one HEAD, retries included."""
SILENCE_SECONDS_MAX = 10.0
"""Without a byte, in the middle of an object."""
OBJECT_SECONDS_MAX = 6 * 3600.0
"""For one object; a download that was cut is resumed by its caller."""
RETRIES_MAX = 2
OBJECTS_MAX = 100_000
"""Under one URI."""
PAGE_OBJECTS = 1000
CHUNK_BYTES = 1 << 20
NAME_BYTES_MAX = 255
"""Of one step of a path, as Linux has it."""
MARKER_CHECKS_PARALLEL_MAX = 8
SIMILAR_NAMES_MAX = 5

FOREIGN = (BaseError, OSError, ValueError)
"""What obstore raises: its own tree, FileNotFoundError and, for configuration, ValueError."""


class ObjectSource:
    """A bucket as one identity sees it.

    Args:
        uri: what to read there.
        place: where it is and who asks.
        client: makes a client for the place, given the seconds that an answer may take and how often to try again.
    """

    def __init__(self, uri: ObjectUri, place: Place, client: Callable[[float, int], ObjectStore]) -> None:
        self._uri = uri
        self._place = place
        self._client = client
        self._questions = client(ANSWER_SECONDS_MAX, RETRIES_MAX)

    @functools.cached_property
    def _downloads(self) -> ObjectStore:
        """What is not in the cache: it takes 3 ms to make. Downloads are not retried here: their caller resumes them, and counts."""
        return self._client(OBJECT_SECONDS_MAX, 0)

    def facts(self) -> dict[str, str]:
        """Return where the bucket is and who asks."""
        return self._place.facts()

    async def list_files(self) -> list[RemoteFile]:
        """Return the files of the directory or the object that a URI names. This always asks the store, so it also checks the credentials.

        Empty files count; the empty ``dir/`` objects that browsers and consoles make do not.

        Raises:
            Denied, Unavailable: see ``object_errors``.
            NotFound: nothing is there (NoObjects, with similar names where there are), or no bucket (BucketNotFound).
            InvalidInput: a key is no safe file name.
            TooLarge: more than OBJECTS_MAX objects.
        """
        uri = self._uri
        directory = uri.prefix.rstrip("/")
        await self._check()
        try:
            found = await self._list(uri, directory)
            if found:
                return await self._files(uri, directory, found)
            if directory and not uri.prefix.endswith("/"):
                single = await self._head(directory)
                if single is not None:
                    return [self._file(directory.rpartition("/")[2], single)]
        except FOREIGN as error:
            raise translate(error, self._place, str(uri)) from error
        raise await self._nothing(uri, directory)

    async def _check(self) -> None:
        """Look at the addresses that requests go to: obstore resolves them by itself, and nothing can be pinned there."""
        for url in (self._place.base_url, *self._place.also_asked):
            await check(url)

    async def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield an object's bytes from an offset, as long as it is still the one that was listed.

        Raises:
            Conflict: the object changed or vanished since it was listed.
            Denied, Unavailable: see ``object_errors``.
        """
        what = f"{self._place.root}/{file.key}"
        options: dict[str, Any] = {}
        if offset:
            options["range"] = {"offset": offset}
        if file.etag:
            options["if_match"] = file.etag
        await self._check()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                result = await obstore.get_async(self._downloads, file.key, options=options)  # type: ignore[arg-type]
            async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)
        except (PreconditionError, FileNotFoundError) as error:
            raise Conflict(
                f"cannot read {what}: it changed while the model was fetched",
                hint="upload models under a new prefix, or try again once the upload has ended",
                reason="ObjectChanged",
            ) from error
        except FOREIGN as error:
            raise translate(error, self._place, what) from error

    async def put(self, key: str, content: bytes) -> None:
        """Write an object, in place of one that may be there.

        Raises:
            Denied, NotFound, Unavailable: see ``object_errors``.
        """
        what = f"{self._place.root}/{key}"
        await self._check()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await obstore.put_async(self._questions, key, content, use_multipart=False)
        except FOREIGN as error:
            raise translate(error, self._place, what, "write") from error

    async def _list(self, uri: ObjectUri, directory: str) -> list[dict[str, Any]]:
        """Return what is below ``directory/``, page by page, each with its own deadline."""
        found: list[dict[str, Any]] = []
        pages = obstore.list(self._questions, f"{directory}/" if directory else None, chunk_size=PAGE_OBJECTS)
        while True:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                page = await anext(pages, None)
            if page is None:
                return found
            found.extend(dict(entry) for entry in page)
            if len(found) > OBJECTS_MAX:
                raise TooLarge(
                    f"cannot read {uri}: there are more than {OBJECTS_MAX} objects", hint="name a longer prefix", reason="TooManyObjects"
                )

    async def _head(self, key: str) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return dict(await obstore.head_async(self._questions, key))
        except FileNotFoundError:
            return None

    async def _files(self, uri: ObjectUri, directory: str, found: list[dict[str, Any]]) -> list[RemoteFile]:
        """Turn a listing into files: leave out directory markers, refuse what can't be laid out on a disk."""
        base = f"{directory}/" if directory else ""
        parents = {base + parent for entry in found for parent in _parents(entry["path"].removeprefix(base))}
        # obstore drops a key's trailing slash, so the marker of the directory itself appears under the directory's own name.
        entries = [entry for entry in found if entry["path"] != directory and not (entry["size"] == 0 and entry["path"] in parents)]
        markers = await self._markers([entry["path"] for entry in entries if entry["size"] == 0])
        files = [self._file(entry["path"].removeprefix(base), entry) for entry in entries if entry["path"] not in markers]
        for file in files:
            steps = file.name.split("/")
            if not is_safe_relative(file.name) or any(len(step.encode()) > NAME_BYTES_MAX for step in steps):
                raise unsafe_key(file.key, str(uri))
            if file.key in parents:
                raise InvalidInput(
                    f"cannot read {uri}: {file.key!r} is an object and a directory at once",
                    hint="rename one of them",
                    reason="UnsafeObjectKey",
                )
        if not files:
            raise await self._nothing(uri, directory)
        return sorted(files, key=lambda file: file.name)

    async def _markers(self, empty: list[str]) -> set[str]:
        """Return which of the empty objects are markers of empty directories: ``dir/``, which under the name ``dir`` isn't there."""
        markers: set[str] = set()

        async def check(key: str) -> None:
            if await self._head(key) is None:
                markers.add(key)

        await for_each(empty, check, parallel_max=MARKER_CHECKS_PARALLEL_MAX, name="storage/markers")
        return markers

    def _file(self, name: str, entry: dict[str, Any]) -> RemoteFile:
        place = self._place
        content = entry["e_tag"] or f"modified {entry['last_modified'].isoformat()}"
        identity = "\n".join((place.endpoint, place.bucket, entry["path"], content, str(entry["size"])))
        return RemoteFile(name=name, key=entry["path"], size=entry["size"], etag=entry["e_tag"], identity=identity)

    async def _nothing(self, uri: ObjectUri, directory: str) -> NotFound:
        """Return the error for an empty place, naming its neighbours."""
        similar = await self._similar(directory)
        return NotFound(
            f"no objects under {uri} at {self._place.endpoint}",
            hint=f"similar names there: {', '.join(similar)}" if similar else "check the storage URI and that the upload has ended",
            reason="NoObjects",
        )

    async def _similar(self, directory: str) -> list[str]:
        """Return a few names that stand beside a directory and look like it. An error here never hides the one being told."""
        parent, _, wanted = directory.rpartition("/")
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                beside = await obstore.list_with_delimiter_async(self._questions, parent or None)
        except FOREIGN:
            return []
        folders = [prefix.rpartition("/")[2] for prefix in beside["common_prefixes"]]
        objects = [entry["path"].rpartition("/")[2] for entry in beside["objects"]]
        names = {name: f"{name}/" for name in folders if name} | {name: name for name in objects if name and name not in folders}
        # "mnist/" where "mnist" is an object finds nothing; the object is the likely one meant. A folder of that name holds markers only.
        if wanted in folders:
            del names[wanted]
        near = [name for name in names if wanted and name.startswith(wanted)]
        near += [name for name in difflib.get_close_matches(wanted, names, n=SIMILAR_NAMES_MAX) if name not in near]
        return [names[name] for name in near[:SIMILAR_NAMES_MAX]]


def _parents(name: str) -> list[str]:
    steps = name.split("/")[:-1]
    return ["/".join(steps[: count + 1]) for count in range(len(steps))]


def client_options(place: Place, answer_seconds: float) -> ClientConfig:
    """Return how a client talks HTTP."""
    options: ClientConfig = {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS_MAX),
        "read_timeout": timedelta(seconds=min(answer_seconds, SILENCE_SECONDS_MAX)),
        "timeout": timedelta(seconds=answer_seconds),
        "allow_invalid_certificates": not place.verify_tls,
    }
    if place.ca_bundle:
        options["root_certificate"] = place.ca_bundle
    return options


def retry_options(answer_seconds: float, retries: int) -> RetryConfig:
    """Return how often, and for how long, a client tries again by itself."""
    return {
        "max_retries": retries,
        "retry_timeout": timedelta(seconds=answer_seconds / 2),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
    }


def unusable(place: Place, error: Exception) -> InvalidInput:
    """Return the error for a configuration that the library refuses."""
    cause = str(error).partition("\n")[0]
    return InvalidInput(f"cannot use the {place.store} endpoint {place.endpoint}: {cause}", reason="InvalidStorageConfig")
