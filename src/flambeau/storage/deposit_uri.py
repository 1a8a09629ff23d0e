"""Read the URL of a place that files are written to. Pure: admission calls it too.

Places are named as KServe's logger names them: ``s3://`` or ``s3a://BUCKET/PREFIX``, ``gs://`` or ``gcs://BUCKET/PREFIX``, ``abfs://`` or
``abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX``; and ``file:///FOLDER``, which is ours.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from flambeau.foundation.errors import InvalidInput
from flambeau.storage.uri import AzureUri, FileUri, GcsUri, S3Uri, parse_uri

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "file": "file"}
"""As they are written -> as models' URIs have them."""
_AZURE_SCHEMES = ("abfs", "abfss")
_AZURE = re.compile(r"abfss?://([a-z0-9][a-z0-9-]{2,62})@([a-z0-9]{3,24})\.(?:dfs|blob)\.core\.windows\.net(?:/(.*))?")

DepositUri: TypeAlias = S3Uri | GcsUri | AzureUri | FileUri


def is_deposit(url: str) -> bool:
    """Tell by its scheme whether a URL names a place to write files to."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and (scheme in _SCHEMES or scheme in _AZURE_SCHEMES)


def parse_deposit(url: str) -> DepositUri:
    """Return the place that a URL names.

    Raises:
        InvalidInput: it names none (InvalidStorageUri).
    """
    scheme, _, rest = url.partition("://")
    if azure := _AZURE.fullmatch(url):
        return AzureUri(azure[2], azure[1], azure[3] or "")
    place = parse_uri(f"{_SCHEMES[scheme]}://{rest}") if scheme in _SCHEMES else None
    if isinstance(place, S3Uri | GcsUri | FileUri):
        return place
    raise InvalidInput(
        f"nothing can be written to {url!r}",
        hint="write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX or file:///FOLDER",
        reason="InvalidStorageUri",
    )


def prefix_of(where: DepositUri) -> str:
    """Return what keys of a place begin with, without slashes around it; a folder's are counted from the machine's root."""
    return (str(where.path) if isinstance(where, FileUri) else where.prefix).strip("/")
