"""Which client reads and writes which object store."""

from __future__ import annotations

from flambeau.storage.azure import azure_source
from flambeau.storage.gcs import gcs_source
from flambeau.storage.model import Credentials
from flambeau.storage.objects import ObjectSource
from flambeau.storage.s3 import s3_source
from flambeau.storage.uri import AzureUri, GcsUri, S3Uri


def bucket_of(where: S3Uri | GcsUri | AzureUri, credentials: Credentials) -> ObjectSource:
    """Return an object store's bucket, as some credentials see it.

    Raises:
        Denied, InvalidInput: the credentials are missing or can't be used.
    """
    match where:
        case S3Uri():
            return s3_source(where, credentials)
        case GcsUri():
            return gcs_source(where, credentials)
        case AzureUri():
            return azure_source(where, credentials)
