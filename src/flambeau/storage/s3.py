"""Make a client for S3 and whatever speaks like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obstore.store import S3Store

from flambeau.storage.connection import connection
from flambeau.storage.model import Credentials
from flambeau.storage.objects import FOREIGN, ObjectSource, client_options, retry_options, unusable
from flambeau.storage.uri import S3Uri

if TYPE_CHECKING:
    from obstore.store import S3Credential


def s3_source(uri: S3Uri, credentials: Credentials) -> ObjectSource:
    """Return the bucket that a URI names, as some credentials see it.

    The client takes nothing from this process's environment: obstore reads the AWS_* variables for whatever isn't given, so each one that
    could redirect or sign a request is given. A model's owner must not act with the platform's identity.

    Raises:
        Denied, InvalidInput: see ``connection``.
    """
    place = connection(uri.bucket, credentials)

    def identity() -> S3Credential:
        return {
            "access_key_id": place.access_key_id or "",
            "secret_access_key": place.secret_access_key or "",
            "token": place.session_token,
            "expires_at": None,
        }

    def client(answer_seconds: float, retries: int) -> S3Store:
        try:
            return S3Store(
                place.bucket,
                endpoint=place.base_url,
                aws_endpoint_url_s3=place.base_url,
                region=place.region,
                virtual_hosted_style_request=place.virtual_host,
                skip_signature=place.access_key_id is None,
                request_payer=False,
                credential_provider=identity,
                client_options=client_options(place, answer_seconds),
                retry_config=retry_options(answer_seconds, retries),
            )
        except FOREIGN as error:
            raise unusable(place, error) from error

    return ObjectSource(uri, place, client)
