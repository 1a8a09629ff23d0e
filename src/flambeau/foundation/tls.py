"""A certificate and its key become the context of a server."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path

from flambeau.foundation.errors import InvalidInput

LOOK_SECONDS = 2.0
"""How often a certificate's files are looked at."""

_log = logging.getLogger(__name__)


def bare_context(protocols: Sequence[str]) -> ssl.SSLContext:
    """Return a server's context, TLS 1.2 and above, without a certificate.

    Args:
        protocols: that the server speaks, in ALPN's names, the preferred one first; none: nothing is said of it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
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


async def follow_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Give a server's context the certificate's new content whenever its files change; connections that are open stay as they are.

    A pair that does not fit, as while one of the files is still old, changes nothing and is told once.

    Args:
        context: of context_of(), in use.
        certificate: as there.
        key: as there.

    Cancel: ends; the context stays as it is.
    """
    files = [certificate] if key is None else [certificate, key]
    known, failed = _stamps(files), None
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = _stamps(files)
        if now in (known, failed):
            continue
        try:
            context_of(certificate, key, ())
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (InvalidInput, OSError) as error:
            failed = now
            _log.error("the new certificate is not used: %s", error)
        else:
            known, failed = now, None
            _log.info("the certificate was read again", extra={"fields": {"certificate": str(certificate)}})


def _stamps(files: Sequence[Path]) -> tuple[tuple[int, int, int], ...]:
    """Return what changes with the files' content; a file that is not there has zeros."""
    stamps = []
    for file in files:
        try:
            found = file.stat()
            stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
        except OSError:
            stamps.append((0, 0, 0))
    return tuple(stamps)
