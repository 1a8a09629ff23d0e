"""Make a client for Azure's blob storage: by a shared key, a service principal, a token, or as anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from obstore.store import AzureStore

from flambeau.foundation.errors import InvalidInput
from flambeau.storage import credentials as names
from flambeau.storage.connection import ca_bundle, endpoint_of
from flambeau.storage.model import Credentials
from flambeau.storage.objects import FOREIGN, ObjectSource, client_options, retry_options, unusable
from flambeau.storage.place import Place
from flambeau.storage.uri import AzureUri

if TYPE_CHECKING:
    from obstore.store import AzureCredential

_PRINCIPAL = (names.AZURE_CLIENT_ID, names.AZURE_TENANT_ID, names.AZURE_CLIENT_SECRET)


def azure_source(uri: AzureUri, credentials: Credentials) -> ObjectSource:
    """Return the container that a URI names, as some credentials see it; without any, as anybody sees it.

    Raises:
        InvalidInput: the credentials are incomplete (InvalidStorageConfig).
    """
    login, identity = _login(credentials)
    endpoint = endpoint_of(credentials, names.AZURE_ENDPOINT)
    place = Place(
        store="Azure blob",
        root=f"https://{uri.account}.blob.core.windows.net/{uri.bucket}",
        bucket=uri.bucket,
        endpoint=endpoint or f"https://{uri.account}.blob.core.windows.net",
        endpoint_source=credentials.source(names.AZURE_ENDPOINT) or "the URI",
        ca_bundle=ca_bundle(credentials),
        identity=identity,
        warnings=credentials.warnings,
        also_asked=tuple(filter(None, (login.get("authority_host"),))),
        ca_hint="name its CA in the ConfigMap that inferenceservice-config's caBundleConfigMapName names",
        plain_hint=f"write {names.AZURE_ENDPOINT} with http://",
    )

    def client(answer_seconds: float, retries: int) -> AzureStore:
        try:
            return AzureStore(
                place.bucket,
                account_name=uri.account,
                endpoint=place.endpoint,
                client_options=client_options(place, answer_seconds),
                retry_config=retry_options(answer_seconds, retries),
                use_emulator=False,
                **login,
            )
        except FOREIGN as error:
            raise unusable(place, error) from error

    return ObjectSource(uri, place, client)


def _login(credentials: Credentials) -> tuple[dict[str, Any], str]:
    """Return what the client signs with, and who that is."""
    if key := credentials.get(names.AZURE_ACCESS_KEY):
        return _always({"access_key": key, "expires_at": None}), f"{credentials.source(names.AZURE_ACCESS_KEY)}, a shared key"
    if token := credentials.get(names.AZURE_ACCESS_TOKEN):
        return _always({"token": token, "expires_at": None}), f"{credentials.source(names.AZURE_ACCESS_TOKEN)}, an access token"
    client_id = credentials.get(names.AZURE_CLIENT_ID)
    if not client_id:
        return {"skip_signature": True}, "anonymous (no Azure credentials are given)"
    missing = [name for name in _PRINCIPAL if not credentials.get(name)]
    if missing:
        raise InvalidInput(
            f"cannot use the Azure credentials: {' and '.join(missing)} not set",
            hint=f"{names.AZURE_CLIENT_ID} comes from {credentials.source(names.AZURE_CLIENT_ID)}; managed identities don't exist here",
            reason="InvalidStorageConfig",
        )
    principal = {
        "client_id": client_id,
        "tenant_id": credentials.get(names.AZURE_TENANT_ID),
        "client_secret": credentials.get(names.AZURE_CLIENT_SECRET),
    }
    if authority := credentials.get(names.AZURE_AUTHORITY):
        principal["authority_host"] = authority
    return {"skip_signature": False, **principal}, f"{credentials.source(names.AZURE_CLIENT_ID)}, client {client_id}"


def _always(credential: AzureCredential) -> dict[str, Any]:
    return {"skip_signature": False, "credential_provider": lambda: credential}
