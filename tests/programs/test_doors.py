"""The doors of real servers: keys, TLS, Unix sockets, CORS."""

from __future__ import annotations

import json
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.settings.access import TlsFiles
from flambeau.programs.tls import server_context
from tests.fixtures.archives import BROKEN, ECHO, write_mar
from tests.fixtures.certificates import self_signed
from tests.fixtures.waiting import until_told
from tests.programs.kit import CONFIG, Served, serving

NO_SWITCH = CONFIG.replace("disable_token_authorization=true\n", "")
DENIED = {
    "code": 400,
    "type": "InvalidKeyException",
    "message": "Token Authorization failed. Token either incorrect, expired, or not provided correctly",
}


@dataclass
class Guarded:
    """A server that wants keys, on one door for everything."""

    served: Served
    root: Path
    client: httpx2.AsyncClient

    def key(self, name: str) -> dict[str, str]:
        entry = json.loads((self.root / "key_file.json").read_bytes())[name]
        return {"authorization": f"Bearer {entry['key']}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    root = tmp_path_factory.mktemp("guarded")
    write_mar(root / "store", "echo", ECHO)
    write_mar(root / "store", "broken", BROKEN)
    flags = ["--model-store", "store", "--models", "echo.mar", "--enable-model-api"]
    config = NO_SWITCH + "cors_allowed_origin=https://example.org\ncors_allowed_methods=GET, POST\ncors_allowed_headers=X-Mine\n"
    async with serving(root, flags, config=config) as served, httpx2.AsyncClient(base_url=served.url, timeout=60) as client:
        found = Guarded(served, root, client)

        async def answers() -> bool:
            return (await client.post("/predictions/echo", json={"a": 1}, headers=found.key("inference"))).status_code == 200

        await until_told(answers)
        yield found


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/ping", "inference"),
        ("POST", "/predictions/echo", "inference"),
        ("POST", "/predictions/echo/1.0", "inference"),
        ("POST", "/v1/models/echo:predict", "inference"),
        ("POST", "/v2/models/echo/infer", "inference"),
        ("POST", "/invocations", "inference"),
        ("POST", "/models/echo/invoke", "inference"),
        ("POST", "/echo/predict", "inference"),
        ("GET", "/v1/models", "inference"),
        ("GET", "/v2/models/echo", "inference"),
        ("GET", "/", "inference"),
        ("OPTIONS", "/predictions/echo", "inference"),
        ("GET", "/models", "management"),
        ("GET", "/models/echo", "management"),
        ("GET", "/models/echo/1.0", "management"),
        ("GET", "/models/echo/all", "management"),
        ("PUT", "/models/echo", "management"),
        ("PUT", "/models/echo/1.0/set-default", "management"),
        ("DELETE", "/models/nope", "management"),
        ("POST", "/models", "management"),
    ],
)
async def test_a_shared_door_takes_the_key_of_what_is_asked(guarded: Guarded, method: str, path: str, key: str) -> None:
    if not path.startswith("/v"):
        response = await guarded.client.request(method, path)
        assert (response.status_code, response.json()) == (400, DENIED)
    wrong = {"inference": "management", "management": "inference"}[key]
    for headers in ({}, guarded.key("API"), {"authorization": "Bearer nothing"}, {} if path == "/" else guarded.key(wrong)):
        refused = await guarded.client.request(method, path, headers=headers)
        assert refused.status_code == 400
        assert "Token Authorization failed" in refused.text
    opened = await guarded.client.request(method, path, headers=guarded.key(key))
    assert "Token" not in opened.text
    assert opened.status_code != 401


@pytest.mark.asyncio(loop_scope="module")
async def test_what_needs_no_key_tells_nothing(guarded: Guarded) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/api-description", "/metrics"):
        assert (await guarded.client.get(path)).status_code == 200
    assert (await guarded.client.options("/")).status_code == 200
    assert (await guarded.client.get("/nowhere")).status_code == 404


@pytest.mark.asyncio(loop_scope="module")
async def test_keys_are_renewed_over_http(guarded: Guarded) -> None:
    assert stat.S_IMODE((guarded.root / "key_file.json").stat().st_mode) == 0o600
    before = guarded.key("management")
    for headers in ({}, guarded.key("inference")):
        refused = await guarded.client.get("/token?type=management", headers=headers)
        assert refused.status_code == 400
        assert "Token Authentication failed" in refused.json()["message"]
    assert (await guarded.client.get("/token?type=management", headers=guarded.key("API"))).status_code == 200
    assert (await guarded.client.get("/models", headers=before)).status_code == 400
    assert (await guarded.client.get("/models", headers=guarded.key("management"))).status_code == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_cors_headers_are_on_every_answer(guarded: Guarded) -> None:
    key = guarded.key("inference")
    answers = [
        await guarded.client.get("/ping", headers=key),
        await guarded.client.get("/nowhere"),
        await guarded.client.get("/models"),
        await guarded.client.post("/v1/models/echo:predict", json={"instances": [1]}, headers=key),
    ]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
        assert answer.headers["access-control-allow-headers"] == "X-Mine"
    # A browser asks before it sends the key.
    preflight = {"origin": "https://example.org", "access-control-request-method": "POST"}
    for path in ("/predictions/echo", "/v1/models/echo:predict", "/v2/models/echo/infer"):
        answer = await guarded.client.options(path, headers=preflight)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "https://example.org"


async def test_given_keys_work_in_a_container(tmp_path: Path) -> None:
    write_mar(tmp_path / "store", "broken", BROKEN)
    (tmp_path / "secret.json").write_text(json.dumps({"inference": {"key": "one"}, "management": {"key": "two"}}))
    flags = ["--model-store", "store", "--models", "all"]
    environment = {"FLAMBEAU_KEYS_FILE": "secret.json"}
    inference, management = {"authorization": "Bearer one"}, {"authorization": "Bearer two"}
    async with serving(tmp_path, flags, config=NO_SWITCH, environment=environment) as served, httpx2.AsyncClient() as client:
        client.base_url = served.url
        assert (await client.get("/models", headers=management)).status_code == 200
        assert (await client.get("/models", headers=inference)).status_code == 400
        assert not (tmp_path / "key_file.json").exists()

        async def failed() -> bool:
            return bool((await client.get("/v2/health/ready")).json()["reason"] == "ModelLoadFailed")

        # A prober has no key: it hears whether and why, and no names.
        await until_told(failed)
        assert "broken" not in (await client.get("/v2/health/ready")).text
        assert "broken" in (await client.get("/v2/health/ready", headers=inference)).text
        served.process.terminate()
        assert await served.ended() == 0


async def test_a_pod_is_open_unless_keys_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    environment = {"FLAMBEAU_POD_IP": "127.83.9.42", "PORT": "8080"}
    flags = ["--model-store", "store"]
    for switch, status in (("", 200), ("disable_token_authorization=false\n", 400)):
        async with serving(tmp_path, flags, config=NO_SWITCH + switch, environment=environment), httpx2.AsyncClient() as client:
            assert (await client.get("http://127.83.9.42:8080/ping")).status_code == status
            assert (await client.get("http://127.83.9.42:8080/v2/health/ready")).status_code == 200


async def test_unix_sockets(tmp_path: Path) -> None:
    write_mar(tmp_path / "store", "echo", ECHO)
    inference, management = tmp_path / "i.sock", tmp_path / "m.sock"
    config = (
        f"inference_address=unix:{inference}\nmanagement_address=unix:{management}\nmetrics_address=http://127.0.0.1:0\n"
        "default_workers_per_model=1\ndisable_token_authorization=true\n"
    )
    async with serving(tmp_path, ["--model-store", "store", "--models", "all", "--ncs"], config=config) as served:
        assert stat.S_IMODE(inference.stat().st_mode) == 0o600
        async with (
            httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(inference)), base_url="http://x") as client,
            httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(management)), base_url="http://x") as manager,
        ):
            await until_told(lambda: is_ready(client))
            assert (await client.post("/predictions/echo", json={"a": 1})).json() == {"a": 1}
            assert (await client.get("/models")).status_code == 404
            assert (await manager.get("/models")).json()["models"] == [{"modelName": "echo", "modelUrl": "echo.mar"}]
            assert (await manager.post("/predictions/echo")).status_code == 404
        served.process.terminate()
        assert await served.ended() == 0
    assert not inference.exists()
    assert not management.exists()
    assert not (tmp_path / "logs").exists()


async def is_ready(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/v2/health/ready")).status_code == 200


def write_certificate(directory: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1 with its key, in PEM and as a keystore."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = self_signed(key)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (directory / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (directory / "pkcs8.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (directory / "pkcs1.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain))
    locked = serialization.BestAvailableEncryption(b"secret")
    (directory / "keystore.p12").write_bytes(pkcs12.serialize_key_and_certificates(b"x", key, certificate, None, locked))


async def test_tls(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    write_mar(tmp_path / "store", "echo", ECHO)
    config = CONFIG.replace("http://", "https://") + "keystore=keystore.p12\nkeystore_pass=secret\nkeystore_type=PKCS12\n"
    trust = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    flags = ["--model-store", "store", "--models", "all"]
    async with serving(tmp_path, flags, config=config) as served, httpx2.AsyncClient(verify=trust, timeout=60) as client:
        client.base_url = served.url
        assert served.url.startswith("https://")
        await until_told(lambda: is_ready(client))
        assert (await client.post("/predictions/echo", json={"a": "x" * 100_000})).json() == {"a": "x" * 100_000}
        with pytest.raises(httpx2.HTTPError):
            await client.get(served.url.replace("https", "http") + "/ping")
        assert (await client.get("/ping")).status_code == 200
        assert "secret" not in served.err.read_text()
        served.process.terminate()
        assert await served.ended() == 0
    assert not list(served.temporary.glob("flambeau-*"))


def test_tls_files_in_every_form(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    server_context(TlsFiles(tmp_path / "cert.pem", tmp_path / "pkcs1.key"))
    for files, why in (
        (TlsFiles(tmp_path / "cert.pem", tmp_path / "cert.pem"), "cannot serve TLS with certificate "),
        (TlsFiles(keystore=tmp_path / "keystore.p12", keystore_password="wrong"), "keystore_pass is its password"),
        (TlsFiles(keystore=tmp_path / "cert.pem"), "cannot serve TLS with keystore"),
    ):
        with pytest.raises(InvalidInput, match=why):
            server_context(files)
