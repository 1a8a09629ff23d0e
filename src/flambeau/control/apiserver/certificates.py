"""The API server's own certificate authority, its certificate and its token, kept in one folder.

They outlive restarts, so that a kubeconfig does too. Called once at start, before anything listens.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flambeau.foundation.errors import Unavailable
from flambeau.foundation.files import write_atomically

_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 365
_RENEW_BEFORE_DAYS = 30
_BACKDATE = datetime.timedelta(hours=1)  # clocks of clients differ
_TOKEN_BYTES = 32
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Identity:
    """What the server shows, and what it wants to be shown."""

    authority: bytes
    """The CA's certificate in PEM; clients trust it."""
    certificate_file: Path
    key_file: Path
    token: str

    def __repr__(self) -> str:
        return f"Identity({self.certificate_file})"  # the token must never reach a log


def prepare(directory: Path, hosts: tuple[str, ...], *, now: float) -> Identity:
    """Read the identity in a folder; make what is missing, renew what is near its end or lacks a name.

    Args:
        directory: made if it isn't there, 0700; every file in it is 0600.
        hosts: names and addresses that clients use, besides the local ones.
        now: seconds since the epoch.

    Raises:
        Unavailable: the folder can't be written.
    """
    moment = datetime.datetime.fromtimestamp(now, tz=datetime.UTC)
    names = tuple(dict.fromkeys((*_LOCAL_NAMES, *hosts)))
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        authority, authority_key = _authority(directory, moment)
        certificate_file, key_file = directory / "server.crt", directory / "server.key"
        if not _still_good(certificate_file, key_file, authority, names, moment):
            certificate, key = _issue(authority, authority_key, names, moment)
            write_atomically(key_file, _key_pem(key), mode=0o600)
            write_atomically(certificate_file, _certificate_pem(certificate), mode=0o600)
        token = _token(directory / "token")
    except OSError as error:
        raise Unavailable(f"cannot prepare the API server's certificates in {directory}: {error.strerror}") from error
    return Identity(_certificate_pem(authority), certificate_file, key_file, token)


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
        if len(token) >= _TOKEN_BYTES:
            path.chmod(0o600)
            return token
    except FileNotFoundError:
        pass
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    write_atomically(path, token.encode(), mode=0o600)
    return token


def _authority(directory: Path, moment: datetime.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_file, key_file = directory / "ca.crt", directory / "ca.key"
    try:
        certificate, key = _load(certificate_file, key_file)
        if certificate.not_valid_after_utc - moment > datetime.timedelta(days=_RENEW_BEFORE_DAYS + _SERVER_DAYS):
            return certificate, key
    except (FileNotFoundError, ValueError):
        pass
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flambeau-ca")])
    certificate = (
        _builder(name, name, key, moment, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_atomically(key_file, _key_pem(key), mode=0o600)
    write_atomically(certificate_file, _certificate_pem(certificate), mode=0o600)
    return certificate, key


def _issue(
    authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, names: tuple[str, ...], moment: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flambeau-apiserver")])
    certificate = (
        _builder(subject, authority.subject, key, moment, _SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, moment: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _BACKDATE)
        .not_valid_after(moment + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _still_good(
    certificate_file: Path, key_file: Path, authority: x509.Certificate, names: tuple[str, ...], moment: datetime.datetime
) -> bool:
    try:
        certificate, _ = _load(certificate_file, key_file)
        certificate.verify_directly_issued_by(authority)
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except Exception:  # whatever is wrong with it (cut short, another authority's, no names): a new one is made
        return False
    named = set(extension.value)
    renew_from = certificate.not_valid_after_utc - datetime.timedelta(days=_RENEW_BEFORE_DAYS)
    return moment < renew_from and all(_general_name(name) in named for name in names)


def _load(certificate_file: Path, key_file: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"{key_file.name} is not the key of {certificate_file.name}")
    return certificate, key


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
