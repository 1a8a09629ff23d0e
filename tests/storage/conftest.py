"""What the storage tests share: a cache, credentials for the S3 server."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flambeau.storage.cache import Cache
from flambeau.storage.credentials import from_secrets
from flambeau.storage.model import Credentials
from tests.fixtures.s3 import S3Server

MakeSecret = Callable[..., dict[str, Any]]


def secret(data: dict[str, str], annotations: dict[str, str] | None = None, name: str = "s3creds") -> dict[str, Any]:
    """A Secret as the store keeps it; annotations without their common prefix."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": "torchserve",
            "annotations": {f"serving.kserve.io/{key}": value for key, value in (annotations or {}).items()},
        },
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


@pytest.fixture
def make_secret() -> MakeSecret:
    return secret


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", bytes_max=1 << 30)


@pytest.fixture
def login(s3_server: S3Server) -> Callable[..., Credentials]:
    """Credentials for the server, as a Secret gives them; ``port`` leads through a proxy, ``secret_key`` makes them wrong."""

    def make(*, port: int | None = None, secret_key: str = s3_server.secret_key, access_key: str = s3_server.access_key) -> Credentials:
        annotations = {"s3-endpoint": f"127.0.0.1:{port or s3_server.port}", "s3-usehttps": "0", "s3-region": s3_server.region}
        return from_secrets([secret({"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}, annotations)])

    return make
