"""Find out as whom a model is fetched: from ServiceAccount, Secrets and the cluster's configuration, as KServe does.

The agent asks for a pod, ``flambeau storage test`` for a person; both say how an object is read. Source: specification 3.4 and 3.5.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.storage import credentials as names
from flambeau.storage.configuration import CA_BUNDLE_KEY, CONFIG_NAME, CONFIG_NAMESPACE, StorageConfiguration, read_configuration
from flambeau.storage.credentials import from_secrets, from_service_account, merged
from flambeau.storage.model import Credentials, Setting
from flambeau.storage.storage_spec import PLACEHOLDER_SCHEME, StorageSpec, resolve

SPEC_KEY_ANNOTATION = "internal.serving.kserve.io/storage-spec-key"
SPEC_PARAMETERS_ANNOTATION = "internal.serving.kserve.io/storage-spec-param"
"""JSON of ``model.storage.parameters``."""

ReadObject: TypeAlias = Callable[[str, str, str], Awaitable[Mapping[str, Any] | None]]
"""(kind's id, namespace, name) -> the object, None where there is none."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose model it is."""

    namespace: str
    service_account: str = "default"
    annotations: Mapping[str, str] | None = None
    """Of the pod, or of the InferenceService."""


async def identify(uri: str, asker: Asker, read: ReadObject) -> tuple[str, Credentials]:
    """Return the URI, completed by a storage key where it needs one, and the credentials for it.

    Raises:
        NotFound: ServiceAccountNotFound, SecretNotFound, ConfigMapNotFound, StorageKeyNotFound.
        InvalidInput: something of it can't be read (InvalidStorageConfig).
    """
    configuration = read_configuration(await read("configmaps", CONFIG_NAMESPACE, CONFIG_NAME))
    if uri.startswith(PLACEHOLDER_SCHEME):
        uri, found = await _of_storage_spec(uri.removeprefix(PLACEHOLDER_SCHEME), asker, configuration, read)
    else:
        found = await _of_service_account(asker, configuration, read)
    return uri, await _with_certificates(found, asker, configuration, read)


async def _of_service_account(asker: Asker, configuration: StorageConfiguration, read: ReadObject) -> Credentials:
    only = (asker.annotations or {}).get(configuration.secret_name_annotation)
    if only:
        secret = await _secret(read, asker.namespace, only, f"the annotation {configuration.secret_name_annotation}")
        return from_secrets([secret], configuration)
    account = await read("serviceaccounts", asker.namespace, asker.service_account)
    if account is None:
        raise NotFound(
            f'ServiceAccount "{asker.service_account}" is not there in namespace {asker.namespace}',
            hint="create it, or name another one as spec.predictor.serviceAccountName",
            reason="ServiceAccountNotFound",
        )
    listed = [entry["name"] for entry in account.get("secrets") or () if entry.get("name")]
    secrets = [await _secret(read, asker.namespace, each, f'ServiceAccount "{asker.service_account}"') for each in listed]
    return merged(from_service_account(account), from_secrets(secrets, configuration))


async def _of_storage_spec(path: str, asker: Asker, configuration: StorageConfiguration, read: ReadObject) -> tuple[str, Credentials]:
    annotations = asker.annotations or {}
    try:
        parameters = json.loads(annotations.get(SPEC_PARAMETERS_ANNOTATION) or "{}")
    except ValueError as error:
        raise InvalidInput(f"cannot read the annotation {SPEC_PARAMETERS_ANNOTATION}: {error}", reason="InvalidStorageConfig") from error
    name = annotations.get(configuration.secret_name_annotation) or configuration.storage_spec_secret
    secret = await read("secrets", asker.namespace, name)
    spec = StorageSpec(path, annotations.get(SPEC_KEY_ANNOTATION, ""), parameters)
    return resolve(spec, secret, f"{asker.namespace}/{name}")


async def _with_certificates(found: Credentials, asker: Asker, configuration: StorageConfiguration, read: ReadObject) -> Credentials:
    """Add the certificates of the ConfigMap that a Secret names, else of the one that the cluster has for all."""
    own = found.get(names.CA_BUNDLE_CONFIGMAP)
    if own:
        place, named_by = (asker.namespace, own), found.source(names.CA_BUNDLE_CONFIGMAP)
    elif configuration.ca_config_map and not found.get(names.CA_BUNDLE):
        place, named_by = (CONFIG_NAMESPACE, configuration.ca_config_map), f"config map {CONFIG_NAMESPACE}/{CONFIG_NAME}"
    else:
        return found
    config_map = await read("configmaps", *place)
    text = ((config_map or {}).get("data") or {}).get(CA_BUNDLE_KEY)
    if not text:
        raise NotFound(
            f"config map {'/'.join(place)}, named by {named_by}, "
            + ("is not there" if config_map is None else f"has no key {CA_BUNDLE_KEY}"),
            hint=f"create it with the key {CA_BUNDLE_KEY}, or take its name out",
            reason="ConfigMapNotFound",
        )
    bundle = Setting(str(text), f"config map {'/'.join(place)} data key {CA_BUNDLE_KEY}")
    return Credentials({**found.settings, names.CA_BUNDLE_TEXT: bundle}, found.warnings)


async def _secret(read: ReadObject, namespace: str, name: str, named_by: str) -> Mapping[str, Any]:
    secret = await read("secrets", namespace, name)
    if secret is None:
        raise NotFound(
            f'Secret "{name}", named by {named_by}, is not there in namespace {namespace}',
            hint="create it, or take its name out",
            reason="SecretNotFound",
        )
    return secret
