"""``flambeau doctor`` on whole set-ups: what it says, and that it runs nothing."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from flambeau.cli.doctor import doctor
from flambeau.foundation.errors import NotFound
from flambeau.programs.doctor.findings import Level, Row
from flambeau.programs.doctor.survey import examine
from flambeau.serving.archive.workflow import WorkflowArchiveRequest, pack_workflow
from tests.fixtures.archives import ECHO, write_mar

ROOT = Path(__file__).parents[3]


def said(path: Path, level: Level, environment: Mapping[str, str] | None = None) -> list[str]:
    """Return what is said at one level, as ``place: text``."""
    return [f"{finding.place}: {finding.text}" for finding in examine(path, environment or {}).findings if finding.level is level]


def test_a_plain_set_up_runs_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mar(tmp_path / "model-store", "echo", ECHO)
    (tmp_path / "config.properties").write_text("inference_address=http://127.0.0.1:8080\nload_models=echo.mar\nmodel_store=model-store\n")
    (tmp_path / "start.sh").write_text("torchserve --start --model-store model-store --ts-config config.properties\n")
    assert said(tmp_path, Level.CHANGE) == said(tmp_path, Level.DIFFERS) == []
    unchanged = said(tmp_path, Level.UNCHANGED)
    assert "config.properties: 3 of 3 settings mean what they meant" in unchanged
    assert "model-store/echo.mar: model echo 1.0, handler echo_handler.py: runs unchanged" in unchanged
    assert "start.sh: the command torchserve is there with all its flags" in unchanged
    assert doctor(tmp_path) == 0
    assert "0 to change" in capsys.readouterr().out


def test_the_examples_of_this_repository_are_ready() -> None:
    assert examine(ROOT / "examples", {}).is_ready


CONFIG = """\
inference_address=http://0.0.0.0:8085
management_address=http://0.0.0.0:8085
disable_token_authorization=true
plugins_path=/plugins
io_ratio=70
job_queue_siez=100
batch=4
service_envelope=kserve
number_of_netty_threads=4  # as in the manual
default_response_timeout=soon
model_store=$$STORE$$
model_snapshot={"models": {"m": {"1.0": {"marName": "gone.mar", "defaultVersion": true}}}}
"""


def test_what_a_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "config.properties").write_text(CONFIG.replace("$$STORE$$", "/store"))
    assert said(tmp_path, Level.CHANGE) == [
        "config.properties line 4: plug-ins are Java and are not loaded; `/ping` and SageMaker's routes are built in",
        'config.properties line 6: job_queue_siez is no setting, here or in TorchServe (did you mean "job_queue_size"?)',
        'config.properties line 10: default_response_timeout: "soon" is no number',
    ]
    differs = "\n".join(said(tmp_path, Level.DIFFERS))
    assert "config.properties line 9: took the remark after the value" in differs
    assert "config.properties line 5: io_ratio: no effect" in differs
    assert "share an address" in differs
    advice = "\n".join(said(tmp_path, Level.ADVICE))
    assert "config.properties line 7: batch is no setting" in advice
    assert "management is open to the network without keys" in advice
    assert "config.properties line 8: service_envelope: V1 and V2 are served" in advice
    assert "names gone.mar, which is not in this set-up" in advice
    (tmp_path / "config.properties").write_text(CONFIG)
    assert "config.properties: needs variables that are not set here: STORE" in said(tmp_path, Level.ADVICE)
    assert not any("STORE" in text for text in said(tmp_path, Level.ADVICE, {"STORE": "/store"}))


HANDLER = """\
from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import no_such_name
import json, no_such_package, helper, sklearn.nothing
try:
    import no_such_accelerator
except ImportError:
    pass
open("{mark}", "w").write("this file was run")

class Mine(BaseHandler):
    def initialize(self, context):
        self.model = torch.load("m.pt")
        self.other = torch.load("n.pt", weights_only=False)
"""


def test_what_an_archive_says_without_being_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    write_mar(tmp_path, "m", HANDLER.replace("{mark}", str(mark)), config="batchSize: many\nmaxBatchDelya: 5\n")
    archive = "m.mar: m_handler.py"
    changes = said(tmp_path / "m.mar", Level.CHANGE)
    assert f"{archive}:2: imports ts.utils.util.no_such_name, which flambeau's ts does not offer" in changes
    assert f"{archive}:3: imports no_such_package, which is not installed here" in changes
    assert any(text.startswith(f"{archive}:3: imports helper") for text in changes)
    assert not any("BaseHandler" in text or "sklearn" in text or "json" in text for text in changes)
    differs = said(tmp_path / "m.mar", Level.DIFFERS)
    assert f"{archive}:12: torch.load without weights_only: torch 2.6 and newer load tensors only" in differs
    assert any("batchSize" in text for text in differs)
    assert any('did you mean "maxBatchDelay"' in text for text in differs)
    advice = said(tmp_path / "m.mar", Level.ADVICE)
    assert f"{archive}:5: would use no_such_accelerator, which is not installed here" in advice
    assert any(text.startswith(f"{archive}:13: torch.load with weights_only=False") for text in advice)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"runtime": "LSP", "model": {"modelName": "m", "handler": "base_handler"}}, "C++ backend"),
        ({"model": {"modelName": "m"}}, "names no handler"),
        ({"model": {"modelName": "m", "handler": "magic_handler"}}, "magic_handler is neither in the archive nor built in"),
        ({"model": {"modelName": "m", "handler": "base_handler", "serializedFile": "m.pt"}}, "serializedFile m.pt is not in the archive"),
    ],
)
def test_what_a_manifest_says(tmp_path: Path, manifest: dict[str, object], why: str) -> None:
    (tmp_path / "m" / "MAR-INF").mkdir(parents=True)
    (tmp_path / "m" / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    [change] = said(tmp_path, Level.CHANGE)
    assert why in change


@pytest.mark.parametrize("old_form", [False, True])
def test_checkpoints_are_tensors_or_code(tmp_path: Path, old_form: bool) -> None:
    folder = tmp_path / "m"
    (folder / "MAR-INF").mkdir(parents=True)
    (folder / "MAR-INF" / "MANIFEST.json").write_text('{"model": {"modelName": "m", "handler": "base_handler"}}')
    network = torch.nn.Linear(2, 2)
    torch.save(network.state_dict(), folder / "state.pt", _use_new_zipfile_serialization=not old_form)
    torch.save(network, folder / "whole.pt", _use_new_zipfile_serialization=not old_form)
    (folder / "empty.pt").write_bytes(b"")
    [change] = said(tmp_path, Level.CHANGE)
    assert change.startswith("m: whole.pt: holds more than tensors (torch.nn.modules.linear.Linear")


DOCKERFILE = """\
FROM pytorch/torchserve:0.12.0-cpu
RUN apt-get install -y openjdk-17-jre
RUN pip install torchserve==0.12.0 torch-model-archiver
# RUN pip install torchserve
CMD torchserve --start --ncs --model-store /store --log-config log4j2.xml && tail -f /dev/null
HEALTHCHECK CMD pgrep -f java
"""


def test_what_scripts_say(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "requirements.txt").write_text("numpy\ntorchserve>=0.9\n")
    changes = said(tmp_path, Level.CHANGE)
    assert [re.sub(r":.*", "", text) for text in changes] == [
        "Dockerfile line 1",
        "Dockerfile line 3",
        "Dockerfile line 6",
        "requirements.txt line 2",
    ]
    assert any("line 5: configures log4j" in text for text in said(tmp_path, Level.DIFFERS))
    assert any("line 2: sets Java up" in text for text in said(tmp_path, Level.ADVICE))
    assert "Dockerfile: the command torchserve is there with all its flags" in said(tmp_path, Level.UNCHANGED)


def test_broken_files_are_told_and_the_others_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mar").write_bytes(b"<html>")
    (tmp_path / "config.properties").write_text("load_models=\\u12")
    write_mar(tmp_path, "echo", ECHO)
    assert doctor(tmp_path, output="json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ready"], told["counts"]["change"]) == (False, 2)
    assert any("an HTML page" in finding["text"] for finding in told["findings"])
    assert any("echo 1.0" in finding["text"] for finding in told["findings"])


def test_what_is_no_model_is_passed_by(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "data.tar.gz", "w:gz") as packed:
        packed.add(Path(__file__), "data.py")
    (tmp_path / "torn.tar.gz").write_bytes(b"\x1f\x8b nothing")
    os.mkfifo(tmp_path / "pipe.sh")
    assert said(tmp_path, Level.CHANGE) == []
    assert any(text.startswith("data.tar.gz: has no MANIFEST.json") for text in said(tmp_path, Level.ADVICE))
    (tmp_path / "config.properties").write_text("load_models=data=data.tar.gz\n")
    assert said(tmp_path, Level.CHANGE) == ["data.tar.gz: names no handler"]


def test_an_empty_or_absent_path(tmp_path: Path) -> None:
    assert "is it the right folder?" in said(tmp_path, Level.ADVICE)[0]
    with pytest.raises(NotFound):
        examine(tmp_path / "absent", {})


def test_every_row_that_findings_name_is_in_the_document() -> None:
    document = (ROOT / "docs/compatibility.md").read_text()
    assert set(Row) <= set(re.findall(r"^\| ([^|]+) \|", document, flags=re.MULTILINE))


FUNCTIONS = """\
from ts.utils.util import map_class_to_label

def start(data, context):
    return data
"""


def write_war(store: Path, spec: str, functions: str = FUNCTIONS) -> None:
    sources = store.parent / "sources"
    sources.mkdir()
    (sources / "spec.yaml").write_text(spec)
    (sources / "functions.py").write_text(functions)
    pack_workflow(WorkflowArchiveRequest("w", sources / "spec.yaml", sources / "functions.py", export_path=store))
    (sources / "functions.py").unlink()


def test_a_workflow_runs_unchanged(tmp_path: Path) -> None:
    write_mar(tmp_path / "store", "m", ECHO)
    write_war(tmp_path / "store", "models:\n  m:\n    url: m.mar\ndag:\n  start: [m]\n")
    assert said(tmp_path, Level.CHANGE) == said(tmp_path, Level.ADVICE) == []
    assert "store/w.war: workflow w of 2 nodes: runs unchanged" in said(tmp_path, Level.UNCHANGED)


@pytest.mark.parametrize(
    ("spec", "functions", "level", "why"),
    [
        ("models:\n  m:\n    url: m.mar\ndag:\n  end: [m]\n", FUNCTIONS, Level.CHANGE, "node end is neither a model nor a function"),
        ("models:\n  m:\n    url: m.mar\ndag:\n  start: [m]\n", FUNCTIONS, Level.ADVICE, "model m names m.mar, which is not in this"),
        ("models: {}\ndag: {}\n", FUNCTIONS, Level.CHANGE, "dag must be a mapping of nodes"),
        ("models: {batch: 1}\ndag:\n  start: []\n", FUNCTIONS, Level.CHANGE, "models.batch must be a mapping"),
        ("dag:\n  start: []\n", "def start(:\n", Level.CHANGE, "is no Python that runs here"),
        ("dag:\n  start: []\n", "import no_such_package_at_all\nfrom x import *\n", Level.CHANGE, "no_such_package_at_all"),
    ],
)
def test_what_a_workflow_needs_is_told(tmp_path: Path, spec: str, functions: str, level: Level, why: str) -> None:
    (tmp_path / "store").mkdir()
    write_war(tmp_path / "store", spec, functions)
    assert any(why in text and text.startswith("store/w.war") for text in said(tmp_path, level))


def test_a_broken_workflow_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "w.war").write_bytes(b"no zip")
    [text] = said(tmp_path, Level.CHANGE)
    assert text.startswith("w.war: ")
