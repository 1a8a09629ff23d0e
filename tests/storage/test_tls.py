"""Endpoints behind TLS: trusted by a CA bundle, by the Secret's wish, or not at all."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flambeau.foundation.errors import InvalidInput, NotFound, Unavailable
from flambeau.storage.cache import Cache
from flambeau.storage.credentials import from_environment, merged
from flambeau.storage.fetch import fetch
from flambeau.storage.model import Credentials, Setting
from tests.fixtures.faulty_proxy import FaultyProxy
from tests.fixtures.s3 import S3Server
from tests.fixtures.web_stores import GitStore, WebStore


@dataclass(frozen=True)
class Authority:
    """A CA and a server certificate of its own for 127.0.0.1."""

    bundle: Path
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA for tests")])
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: x509.Name, public_key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(ca_name).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        return builder.sign(ca_key, hashes.SHA256())

    ca = certificate(ca_name, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(
        certificate(server_name, key.public_key(), address).public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return Authority(folder / "ca.pem", context)


@pytest.fixture
async def environment(s3_server: S3Server, authority: Authority) -> AsyncIterator[dict[str, str]]:
    """The credentials of an endpoint that speaks TLS."""
    async with FaultyProxy(s3_server.port, tls=authority.server) as proxy:
        yield {
            "AWS_ACCESS_KEY_ID": s3_server.access_key,
            "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
            "S3_ENDPOINT": f"127.0.0.1:{proxy.port}",
        }


@pytest.fixture
def uri(s3_server: S3Server) -> str:
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, "m/a", b"a")
    return f"s3://{bucket}/m"


async def test_an_unknown_ca_is_refused(uri: str, cache: Cache, environment: dict[str, str]) -> None:
    with pytest.raises(Unavailable, match=r"its TLS certificate is not trusted.*s3-cabundle.*s3-verifyssl") as caught:
        await fetch(uri, cache=cache, credentials=from_environment(environment))
    assert caught.value.reason == "TlsFailure"


async def test_a_ca_bundle_is_trusted(uri: str, cache: Cache, environment: dict[str, str], authority: Authority) -> None:
    credentials = from_environment({**environment, "AWS_CA_BUNDLE": str(authority.bundle)})
    assert (await fetch(uri, cache=cache, credentials=credentials)).files == 1


async def test_verification_can_be_switched_off(uri: str, cache: Cache, environment: dict[str, str]) -> None:
    credentials = from_environment({**environment, "S3_VERIFY_SSL": "0"})
    assert (await fetch(uri, cache=cache, credentials=credentials)).files == 1


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_a_wrong_ca_bundle_is_said(
    uri: str, cache: Cache, environment: dict[str, str], tmp_path: Path, content: bytes | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"the CA bundle {bundle}") as caught:
        await fetch(uri, cache=cache, credentials=from_environment({**environment, "AWS_CA_BUNDLE": str(bundle)}))
    assert caught.value.reason == "InvalidStorageConfig"


# Web servers, the hub and git


@pytest.fixture
def shop(authority: Authority) -> Iterator[WebStore]:
    with WebStore(tls=authority.server) as store:
        store.files["/m.pt"] = b"weights"
        yield store


def trusting(authority: Authority) -> Credentials:
    """As a ConfigMap of certificates gives it."""
    return Credentials({"CA_BUNDLE_TEXT": Setting(authority.bundle.read_text(), "config map ns/ca data key cabundle.crt")})


async def test_a_web_server_of_an_unknown_ca_is_refused(shop: WebStore, cache: Cache) -> None:
    with pytest.raises(Unavailable, match=r"TLS certificate is not trusted.*caBundleConfigMapName") as caught:
        await fetch(f"{shop.url}/m.pt", cache=cache, credentials=Credentials())
    assert caught.value.reason == "TlsFailure"


async def test_a_web_server_of_a_ca_in_a_config_map(shop: WebStore, cache: Cache, authority: Authority) -> None:
    assert (await fetch(f"{shop.url}/m.pt", cache=cache, credentials=trusting(authority))).bytes == 7


async def test_a_plain_web_server_behind_https_is_said(cache: Cache) -> None:
    with WebStore() as store, pytest.raises(Unavailable, match="does not speak TLS") as caught:
        await fetch(f"{store.url.replace('http:', 'https:')}/m.pt", cache=cache, credentials=Credentials())
    assert caught.value.reason == "TlsFailure"


async def test_s3_trusts_a_config_map(uri: str, cache: Cache, environment: dict[str, str], authority: Authority) -> None:
    credentials = merged(from_environment(environment), trusting(authority))
    assert (await fetch(uri, cache=cache, credentials=credentials)).files == 1


async def test_git_trusts_a_config_map(tmp_path: Path, cache: Cache, authority: Authority) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    with GitStore(tmp_path, tls=authority.server) as store:
        with pytest.raises(Unavailable, match="certificate"):
            await fetch(f"{store.url}/m.git", cache=cache, credentials=Credentials())
        with pytest.raises(NotFound):
            await fetch(f"{store.url}/m.git", cache=cache, credentials=trusting(authority))
