"""Who may come in, and how: keys, CORS headers and TLS files, from the settings. Reads the file of given keys, nothing else."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.settings.mounts import POD_ADDRESS_VARIABLE, Mounts
from flambeau.programs.settings.sources import Values
from flambeau.serving.archive.allowed_address import AllowedAddress
from flambeau.serving.archive.aws_signature import AwsKeys
from flambeau.serving.frontends.tokens import API_KEY, KeySettings

KEY_VARIABLES = {
    "inference": "FLAMBEAU_INFERENCE_KEY",
    "management": "FLAMBEAU_MANAGEMENT_KEY",
    API_KEY: "FLAMBEAU_API_KEY",
}
"""Give the keys themselves, as from a Secret."""
KEYS_FILE_VARIABLE = "FLAMBEAU_KEYS_FILE"
"""Names a file of keys in key_file.json's form, as a mounted Secret."""
KEY_FILE_NAME = "key_file.json"
"""Where made keys are written, in the directory that the server was started in."""
KEY_FILE_BYTES_MAX = 65_536
OPEN_VARIABLE = "FLAMBEAU_OPEN_MANAGEMENT"
"""``true``: models may be registered over the network without a key."""
_CONTAINER_MARKS = (".dockerenv", "run/.containerenv")
KEY_MINUTES_DEFAULT = 60.0

_CORS = (
    ("cors_allowed_origin", b"access-control-allow-origin"),
    ("cors_allowed_methods", b"access-control-allow-methods"),
    ("cors_allowed_headers", b"access-control-allow-headers"),
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a door needs to speak TLS: a certificate chain and its key, or a keystore that holds both."""

    certificate: Path | None = None
    private_key: Path | None = None
    keystore: Path | None = None
    keystore_password: str = field(default="", repr=False)


def key_settings(values: Values, environment: Mapping[str, str], mounts: Mounts, directory: Path) -> KeySettings | None:
    """Return where keys come from; None: nobody needs one.

    Keys are needed unless they are switched off. In a pod they are needed only where somebody asked for them, by giving keys or by
    writing ``disable_token_authorization=false``: the gateway and the platform's probes have none.

    Raises:
        InvalidInput: some keys are given and others missing, or their file is none.
    """
    switch = values["disable_token_authorization"]
    given = _given_keys(environment, mounts, directory)
    asked_for = bool(given) or switch.source != "default" or not environment.get(POD_ADDRESS_VARIABLE)
    if switch.boolean() or not asked_for:
        return None
    if given and not {"inference", "management"} <= given.keys():
        missing = next(KEY_VARIABLES[name] for name in ("inference", "management") if name not in given)
        raise InvalidInput(f"cannot use the given keys: {missing} is missing", hint="give both, or none", reason="InvalidConfiguration")
    try:
        minutes = float(values["token_expiration_min"].text)
    except ValueError:
        minutes = KEY_MINUTES_DEFAULT  # as TorchServe does
    return KeySettings(given, directory / KEY_FILE_NAME, minutes * 60)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host's ports."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_open_management(hosts: Iterable[str], environment: Mapping[str, str], *, root: Path = Path("/")) -> None:
    """Refuse to let the whole network register models without a key: an archive is code that this server runs.

    A container has a network of its own, of which only published ports can be reached: there the usual configuration of TorchServe's
    image, every address 0.0.0.0 and no keys, starts.

    Args:
        hosts: what the doors of management bind.
        environment: the process's variables.
        root: of the file system.

    Raises:
        InvalidInput: a host is not loopback, this is no container, and OPEN_VARIABLE does not say that it is meant.
    """
    reachable = [host for host in hosts if host and not is_loopback(host)]
    meant = environment.get(OPEN_VARIABLE, "").lower() == "true"
    contained = "KUBERNETES_SERVICE_HOST" in environment or any((root / mark).exists() for mark in _CONTAINER_MARKS)
    if reachable and not meant and not contained:
        raise InvalidInput(
            f"refusing to serve management on {reachable[0]}: the model API is on without keys, so the network could run code here",
            hint=f"bind management_address and grpc_management_address to 127.0.0.1, leave the keys on, or set {OPEN_VARIABLE}=true",
            reason="InvalidConfiguration",
        )


def _given_keys(environment: Mapping[str, str], mounts: Mounts, directory: Path) -> dict[str, str]:
    given = {}
    named = environment.get(KEYS_FILE_VARIABLE)
    if named:
        path = directory / mounts.real(named)
        try:
            content = path.read_bytes()[:KEY_FILE_BYTES_MAX]
            given = {str(name): str(entry["key"]) for name, entry in json.loads(content).items()}
        except OSError as error:
            raise InvalidInput(f"cannot read {KEYS_FILE_VARIABLE} {named}: {error.strerror}", reason="InvalidConfiguration") from error
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise InvalidInput(
                f"cannot read {KEYS_FILE_VARIABLE} {named}: it is not of the form of key_file.json",
                hint='write {"inference": {"key": "..."}, "management": {"key": "..."}}',
                reason="InvalidConfiguration",
            ) from error
    given.update({name: environment[variable] for name, variable in KEY_VARIABLES.items() if environment.get(variable)})
    for name, key in given.items():
        if not key or any(character.isspace() for character in key):
            raise InvalidInput(f"cannot use the given {name} key: it is empty or has blanks in it", reason="InvalidConfiguration")
    return given


def cors_headers(values: Values) -> tuple[tuple[bytes, bytes], ...]:
    """Return the CORS headers of every answer."""
    found = []
    for key, header in _CORS:
        text = values[key].text.strip()
        if not text.isprintable() or not text.isascii():
            raise values[key].refused("is no header's value")
        if text:
            found.append((header, text.encode()))
    return tuple(found)


def tls_files(values: Values, mounts: Mounts, directory: Path) -> TlsFiles | None:
    """Return what TLS needs; None where neither a keystore nor a certificate is named.

    Raises:
        InvalidInput: a file is missing, or a keystore is of a type that cannot be read.
    """

    def path_of(key: str) -> Path | None:
        text = values[key].text.strip()
        if not text:
            return None
        path = directory / mounts.real(text)
        if not path.is_file():
            raise values[key].refused("is no file")
        return path

    keystore = path_of("keystore")
    if keystore is not None:
        kind = values["keystore_type"].text.strip().upper()
        if kind != "PKCS12":
            raise values["keystore_type"].refused(
                "cannot be read",
                hint="turn it into PKCS12: keytool -importkeystore -srckeystore OLD -destkeystore NEW -deststoretype PKCS12",
            )
        return TlsFiles(keystore=keystore, keystore_password=values["keystore_pass"].text or "changeit")
    certificate, private_key = path_of("certificate_file"), path_of("private_key_file")
    if certificate is None and private_key is None:
        return None
    if certificate is None or private_key is None:
        missing = "private_key_file" if private_key is None else "certificate_file"
        raise InvalidInput(f"cannot serve TLS: {missing} is missing", hint="give both files", reason="InvalidConfiguration")
    return TlsFiles(certificate, private_key)


def allowed_addresses(values: Values) -> tuple[AllowedAddress, ...]:
    """Return what may be downloaded: nothing unless ``allowed_urls`` says so.

    Raises:
        InvalidInput: an expression is malformed.
    """
    return tuple(AllowedAddress.parse(pattern) for each in values["allowed_urls"].text.split(",") if (pattern := each.strip()))


def aws_keys(environment: Mapping[str, str]) -> AwsKeys | None:
    """Return who signs downloads of ``s3_sse_kms``; None where the environment does not say."""
    key_id, secret, region = (environment.get(f"AWS_{word}") for word in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION"))
    if not (key_id and secret and region):
        return None
    return AwsKeys(key_id, secret, region, environment.get("AWS_SESSION_TOKEN") or None)
