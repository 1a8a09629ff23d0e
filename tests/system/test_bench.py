"""An InferenceService is measured by its name, through the gateway, by a kubeconfig alone."""

from __future__ import annotations

import json
from pathlib import Path

from tests.system.harness import Platform
from tests.system.tagger import apply, make_model, service

NAMESPACE = "measured"


def test_a_service_is_measured_by_its_name(platform: Platform, tmp_path: Path) -> None:
    platform.kubectl("create", "ns", NAMESPACE)
    apply(platform, service("tagger", make_model(tmp_path / "model", "tagger"), NAMESPACE))
    platform.kubectl("wait", "--for=condition=Ready", "isvc/tagger", "-n", NAMESPACE, "--timeout=90s")
    body = tmp_path / "body.json"
    body.write_text('{"instances": ["x"]}')
    load = ["--data", str(body), "--seconds", "0.5s", "--connections", "1,4", "-n", NAMESPACE, "-o", "json"]
    told = json.loads(platform.flambeau("bench", "isvc/tagger", *load).stdout)
    assert told["url"].endswith("/v1/models/tagger:predict")
    for level in told["levels"]:
        assert level["answered"] > 0
        assert level["failed"] == {}
        assert level["split"]["gateway"] > 0
        assert level["split"]["handler"] > 0

    said = platform.flambeau("bench", "isvc/nobody", *load, check=False)
    assert said.returncode == 1
    assert "nobody" in said.stderr
