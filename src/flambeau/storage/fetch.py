"""Turn a model's URI into a directory on this machine: the room's door, called by the agent and by ``flambeau storage test``."""

from __future__ import annotations

from pathlib import Path

from flambeau.storage import files
from flambeau.storage.cache import Cache
from flambeau.storage.connection import connection
from flambeau.storage.download import in_thread, obtain
from flambeau.storage.model import Credentials, Fetched, OnProgress
from flambeau.storage.s3 import S3Source
from flambeau.storage.uri import FileUri, parse_uri


async def fetch(uri: str, *, cache: Cache, credentials: Credentials, on_progress: OnProgress | None = None) -> Fetched:
    """Return the directory of a model, downloading what isn't in the cache.

    The store is asked each time, so a wrong secret or a deleted model shows even where all is cached. The directory is not evicted for
    ``cache.IDLE_SECONDS_MIN``: lease its digest within that time to keep it.

    Args:
        uri: ``s3://bucket/prefix``, ``file:///path`` or an absolute path.
        cache: where models are kept.
        credentials: for stores that ask for them.
        on_progress: called on the loop, often; must return at once.

    Raises:
        InvalidInput: the URI, an object's key or a setting is wrong (UnsupportedScheme, InvalidStorageUri, UnsafeObjectKey,
            InvalidStorageConfig, WrongRegion); TooLarge for too many objects or a model larger than the cache.
        Denied: reason StorageAccessDenied.
        NotFound: BucketNotFound, NoObjects, PathNotFound.
        Conflict: ObjectChanged, while it was downloaded.
        Unavailable: EndpointUnreachable, TlsFailure, EndpointUnavailable, EndpointRefused, DownloadCut, DiskFull, CacheFull, CacheBroken.

    Cancel: what was downloaded stays for the next fetch to go on with.
    """
    where = parse_uri(uri)
    if isinstance(where, FileUri):
        return await in_thread(files.use_in_place, Path(where.path), cache)
    source = S3Source(connection(where.bucket, credentials))
    return await obtain(await source.list_files(where), source, cache, on_progress)


async def survey(uri: str, *, credentials: Credentials) -> tuple[int, int]:
    """Return how many files and bytes a fetch would bring, without bringing them; raises what ``fetch`` raises."""
    where = parse_uri(uri)
    if isinstance(where, FileUri):
        return await in_thread(files.survey, Path(where.path))
    found = await S3Source(connection(where.bucket, credentials)).list_files(where)
    return len(found), sum(file.size for file in found)
