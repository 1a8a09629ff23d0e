"""A certificate and its key become the context of a server."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from flambeau.foundation.errors import InvalidInput


def bare_context(protocols: Sequence[str]) -> ssl.SSLContext:
    """Return a server's context, TLS 1.2 and above, without a certificate.

    Args:
        protocols: that the server speaks, in ALPN's names, the preferred one first.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(protocols)
    return context


def context_of(certificate: Path, key: Path | None, protocols: Sequence[str]) -> ssl.SSLContext:
    """Return the context of a server with this certificate chain.

    Args:
        certificate: PEM, the server's first.
        key: PEM, without a password; None: it stands in the certificate's file.
        protocols: as for bare_context().

    Raises:
        InvalidInput: a file cannot be read, or key and certificate do not belong together.
    """
    context = bare_context(protocols)
    try:
        # Without a password of our own an encrypted key would ask on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        message = f"cannot serve TLS with certificate {certificate} and key {key or certificate}: {error}"
        raise InvalidInput(message, reason="InvalidConfiguration") from error
    return context
