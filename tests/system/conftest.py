"""What the system tests stand on: the example's model, an S3 server with it, and a platform."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fixtures.s3 import S3Server
from tests.system.deploy import BUCKET, EXAMPLE, PREFIX, Model, make_model, secret
from tests.system.harness import Platform


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Have the trained and archived example."""
    return make_model(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="session")
def bucket(s3_server: S3Server, model: Model) -> S3Server:
    """Put the model into S3 as the README does, with a sibling that must not leak."""
    s3_server.create_bucket(BUCKET)
    s3_server.upload_dir(model.folder, BUCKET, PREFIX)
    s3_server.put(BUCKET, f"{PREFIX}2/config/config.properties", b"this belongs to mnist2")
    return s3_server


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Run a platform for the tests of a module; afterwards nothing of it is left."""
    with Platform(tmp_path_factory.mktemp("platform") / "home").running() as running:
        yield running


@pytest.fixture(scope="module")
def namespace(platform: Platform, bucket: S3Server) -> Platform:
    """Make the namespace, the Secret and the ServiceAccount, as the README does."""
    platform.kubectl("create", "ns", "torchserve")
    platform.kubectl("apply", "-f", "-", stdin=secret(bucket))
    platform.kubectl("apply", "-f", str(EXAMPLE / "kubernetes" / "service-account.yaml"))
    return platform


@pytest.fixture(scope="module")
def ready(namespace: Platform) -> Platform:
    """Have the example's service, Ready."""
    namespace.kubectl("apply", "-f", str(EXAMPLE / "kubernetes" / "inference-service.yaml"))
    namespace.kubectl("wait", "--for=condition=Ready", "isvc/mnist-torchserve", "-n", "torchserve", "--timeout=90s")
    return namespace
