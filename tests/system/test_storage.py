"""Models from other places than S3 by its URI: an archive on a web server, a storage key, a claim, a command of one's own."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.fixtures.s3 import S3Server
from tests.fixtures.web_stores import Answer, Asked, WebStore
from tests.system.deploy import BUCKET
from tests.system.harness import Platform, host_of

ROWS = [[6.8, 2.8, 4.8, 1.4], [5.1, 3.5, 1.4, 0.2]]
"""Of the classes 1 and 0."""
TOKEN = "Bearer for-tests"

OBJECTS = """\
apiVersion: v1
kind: Secret
metadata: {{name: web, namespace: torchserve}}
stringData: {{https-host: 127.0.0.1, headers: "Authorization: {token}"}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: web, namespace: torchserve}}
secrets: [{{name: web}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: storage-config, namespace: torchserve}}
stringData: {{mine: '{key}'}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: shelf, namespace: torchserve}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterStorageContainer
metadata: {{name: mine}}
spec:
  container: {{name: fetcher, image: example/fetcher, command: ["{python}", -c, "{program}", "{folder}"]}}
  supportedUriFormats: [{{prefix: "mine://"}}]
"""
FETCH = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[3], dirs_exist_ok=True)"

SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: {name}, namespace: torchserve}}
spec:
  predictor:
    serviceAccountName: {account}
    model: {{modelFormat: {{name: sklearn}}, {where}}}
"""


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("iris")
    features, classes = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(features, classes), folder / "model.joblib")
    return folder


@pytest.fixture(scope="module")
def web(iris: Path) -> Iterator[WebStore]:
    """A web server that asks for a header and has the model as an archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(iris / "model.joblib", "model.joblib")

    class Guarded(WebStore):
        def answer(self, asked: Asked) -> Answer:
            return super().answer(asked) if asked.headers.get("authorization") == TOKEN else Answer(401)

    with Guarded() as store:
        store.files["/iris.tar.gz"] = packed.getvalue()
        yield store


def test_models_from_everywhere(namespace: Platform, bucket: S3Server, web: WebStore, iris: Path) -> None:
    bucket.upload_dir(iris, BUCKET, "elsewhere/iris")
    keys = {"type": "s3", "access_key_id": bucket.access_key, "secret_access_key": bucket.secret_key, "endpoint_url": bucket.endpoint}
    given = {"token": TOKEN, "key": json.dumps({**keys, "region": bucket.region}), "python": sys.executable, "program": FETCH}
    namespace.kubectl("apply", "-f", "-", stdin=OBJECTS.format(**given, folder=iris))
    namespace.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/shelf", "-n", "torchserve", "--timeout=30s")
    shelf = namespace.home / "volumes" / "torchserve" / "shelf" / "iris"
    shelf.mkdir()
    (shelf / "model.joblib").write_bytes((iris / "model.joblib").read_bytes())
    places = {
        "of-web": ("web", f'storageUri: "{web.url}/iris.tar.gz"'),
        "of-key": ("default", f"storage: {{key: mine, path: elsewhere/iris, parameters: {{bucket: {BUCKET}}}}}"),
        "of-claim": ("default", 'storageUri: "pvc://shelf/iris"'),
        "of-mine": ("default", 'storageUri: "mine://iris"'),
    }
    manifests = [SERVICE.format(name=name, account=account, where=where) for name, (account, where) in places.items()]
    namespace.kubectl("apply", "-f", "-", stdin="---\n".join(manifests))
    names = [f"isvc/{name}" for name in places]
    namespace.kubectl("wait", "--for=condition=Ready", *names, "-n", "torchserve", "--timeout=120s")
    for name in places:
        said = namespace.post(f"/v1/models/{name}:predict", {"instances": ROWS}, host=host_of(name))
        assert (said.status_code, said.json()) == (200, {"predictions": [1, 0]}), name


def test_a_trial_as_the_pods_account(namespace: Platform, web: WebStore) -> None:
    uri = f"{web.url}/iris.tar.gz"
    said = namespace.flambeau("storage", "test", uri, "-n", "torchserve", "--service-account", "web")
    assert f"{uri} can be read: 1 files" in said.stdout
    assert "127.0.0.1-headers: ***  (secret torchserve/web data key headers)" in said.stdout
    refused = namespace.flambeau("storage", "test", uri, "-n", "torchserve", "--output", "json", check=False)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"]["reason"] == "StorageAccessDenied"


def test_a_scheme_that_nobody_fetches_is_refused_at_apply(namespace: Platform) -> None:
    manifest = SERVICE.format(name="of-nobody", account="default", where='storageUri: "ftp://host/m"')
    said = namespace.kubectl("apply", "-f", "-", stdin=manifest, check=False)
    assert said.returncode == 1
    assert "the scheme ftp:// is not supported" in said.stderr
    assert "use one of s3://, gs://" in said.stderr
