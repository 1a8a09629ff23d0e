"""Turn a model's URI into a directory on this machine: the room's door, called by the agent and by ``flambeau storage test``."""

from __future__ import annotations

from pathlib import Path

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.storage import files
from flambeau.storage.buckets import bucket_of
from flambeau.storage.cache import Cache
from flambeau.storage.download import in_thread
from flambeau.storage.files import LocalPlace
from flambeau.storage.git import clone
from flambeau.storage.hdfs import HdfsSource
from flambeau.storage.hub import HubSource
from flambeau.storage.model import Credentials, Fetched, OnProgress, RemoteFile
from flambeau.storage.patterns import EVERYTHING, Patterns
from flambeau.storage.source import Source
from flambeau.storage.unpacked import ARCHIVE_SUFFIXES, FolderBytes, bring
from flambeau.storage.uri import AzureUri, ClaimUri, FileUri, GcsUri, GitUri, HdfsUri, HubUri, S3Uri, Uri, parse_uri
from flambeau.storage.web import WebSource


async def fetch(
    uri: str,
    *,
    cache: Cache,
    credentials: Credentials,
    volumes: Path | None = None,
    patterns: Patterns = EVERYTHING,
    on_progress: OnProgress | None = None,
) -> Fetched:
    """Return the directory of a model, downloading what isn't in the cache.

    The store is asked each time, so a wrong secret or a deleted model shows even where all is cached. The directory is not evicted for
    ``cache.IDLE_SECONDS_MIN``: lease its digest within that time to keep it. A model that is one archive (ARCHIVE_SUFFIXES) is unpacked.

    Args:
        uri: see ``uri.SCHEMES``; or an absolute path.
        cache: where models are kept.
        credentials: for stores that ask for them.
        volumes: the namespace's folder of persistent volumes, one folder a claim.
        patterns: which files of a place that lists them are wanted.
        on_progress: called on the loop, often; must return at once.

    Raises:
        InvalidInput: the URI, an object's key or a setting is wrong (UnsupportedScheme, InvalidStorageUri, UnsafeObjectKey,
            InvalidStorageConfig, WrongRegion); TooLarge for too many objects or a model larger than the cache.
        Denied: reason StorageAccessDenied.
        NotFound: BucketNotFound, NoObjects, PathNotFound, ClaimNotFound.
        Conflict: ObjectChanged, while it was downloaded.
        Unavailable: EndpointUnreachable, TlsFailure, EndpointUnavailable, EndpointRefused, DownloadCut, DiskFull, CacheFull, CacheBroken.

    Cancel: what was downloaded stays for the next fetch to go on with.
    """
    where = parse_uri(uri)
    if isinstance(where, FileUri | ClaimUri):
        place = local_place(where, volumes)
        if place.path.is_file() and place.path.name.lower().endswith(ARCHIVE_SUFFIXES):
            return await bring(await in_thread(_one_file, place.path), FolderBytes(place.path.parent), cache, on_progress)
        return await in_thread(files.use_in_place, place, cache)
    if isinstance(where, GitUri):
        return await clone(where, credentials, cache, on_progress)
    source = source_of(where, credentials)
    return await bring(patterns.chosen(await source.list_files(), uri), source, cache, on_progress)


def source_of(where: Uri, credentials: Credentials) -> Source:
    """Return where a remote model's files come from.

    Raises:
        Denied, InvalidInput: the credentials are missing or can't be used.
    """
    match where:
        case S3Uri() | GcsUri() | AzureUri():
            return bucket_of(where, credentials)
        case HubUri():
            return HubSource(where, credentials)
        case HdfsUri():
            return HdfsSource(where, credentials)
        case FileUri() | ClaimUri() | GitUri():
            raise AssertionError(f"{where} is no place of remote files")
    return WebSource(where, credentials)


def local_place(where: FileUri | ClaimUri, volumes: Path | None) -> LocalPlace:
    """Return where on this machine a model lies.

    Raises:
        NotFound: there is no such claim (ClaimNotFound).
        InvalidInput: it is a claim's, and no namespace is given.
    """
    if isinstance(where, FileUri):
        return LocalPlace(Path(where.path), str(where))
    if volumes is None:
        raise InvalidInput(f"cannot read {where}: no namespace is given whose claim it is", reason="InvalidStorageUri")
    if not (volumes / where.claim).is_dir():
        raise NotFound(
            f"cannot read {where}: there is no claim {where.claim} in namespace {volumes.name}",
            hint=f"create the PersistentVolumeClaim, or put the model into {volumes / where.claim}",
            reason="ClaimNotFound",
        )
    path = volumes / where.claim / where.path
    return LocalPlace(path, f"{where} ({path})")


def _one_file(path: Path) -> list[RemoteFile]:
    """Return an archive of this machine as a remote file; its time of change tells one content from another."""
    status = path.stat()
    identity = "\n".join((f"file://{path}", str(status.st_size), str(status.st_mtime_ns)))
    return [RemoteFile(name=path.name, key=path.name, size=status.st_size, etag=None, identity=identity)]
