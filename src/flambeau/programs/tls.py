"""TLS for the doors: a certificate and its key become a context, whatever file they come in."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from flambeau.foundation.errors import FlambeauError, InvalidInput
from flambeau.foundation.tls import bare_context, context_of
from flambeau.programs.settings.access import TlsFiles

_PROTOCOLS = ("http/1.1",)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a server: TLS 1.2 and above.

    Raises:
        InvalidInput: a file cannot be read, or key and certificate do not belong together.
    """
    if files.keystore is not None:
        context = bare_context(_PROTOCOLS)
        _load_keystore(context, files.keystore, files.keystore_password)
        return context
    assert files.certificate is not None, "settings give a keystore or both files"
    return context_of(files.certificate, files.private_key, _PROTOCOLS)


def pem_of(files: TlsFiles) -> tuple[bytes, bytes]:
    """Return key and certificate chain as PEM.

    Raises:
        InvalidInput: a file cannot be read.
    """
    if files.keystore is not None:
        return _pem_of_keystore(files.keystore, files.keystore_password)
    assert files.certificate is not None, "settings give a keystore or both files"
    assert files.private_key is not None, "settings give a keystore or both files"
    try:
        return files.private_key.read_bytes(), files.certificate.read_bytes()
    except OSError as error:
        raise _unusable(f"certificate_file {files.certificate} with private_key_file {files.private_key}", error) from error


def _load_keystore(context: ssl.SSLContext, keystore: Path, password: str) -> None:
    key, chain = _pem_of_keystore(keystore, password)
    # OpenSSL reads files only; this one is the owner's alone and gone at once.
    with tempfile.NamedTemporaryFile(prefix="flambeau-tls-") as file:
        file.write(key + chain)
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise _unusable(f"keystore {keystore}", error) from error


def _pem_of_keystore(keystore: Path, password: str) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - 20 ms of every start that few need
    from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: PLC0415 - as above

    try:
        key, certificate, others = pkcs12.load_key_and_certificates(keystore.read_bytes(), password.encode() or None)
    except (OSError, ValueError) as error:
        raise _unusable(f"keystore {keystore} (keystore_pass is its password)", error) from error
    if key is None or certificate is None:
        raise InvalidInput(f"cannot serve TLS: keystore {keystore} holds no key with a certificate", reason="InvalidConfiguration")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (certificate, *others))


def _unusable(what: str, error: Exception) -> FlambeauError:
    return InvalidInput(f"cannot serve TLS with {what}: {error}", reason="InvalidConfiguration")
