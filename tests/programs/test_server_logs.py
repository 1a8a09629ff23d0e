"""What a server logs where: console, TorchServe's files, JSON; and what a full disk costs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx2

from tests.fixtures.archives import OBEDIENT, write_mar
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import CONFIG, Served, serving

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}"
LOG4J = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Loggers>
    <Logger name="ACCESS_LOG" level="warn"/>
    <Logger name="MODEL_LOG" level="off"/>
    <Logger name="org.pytorch.serve" level="info"/>
    <Root level="warn"><AppenderRef ref="STDOUT"/></Root>
  </Loggers>
</Configuration>
"""


def arguments(root: Path) -> list[str]:
    write_mar(root / "store", "obedient", OBEDIENT)
    return ["--model-store", str(root / "store"), "--models", "obedient.mar"]


def says(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text()


async def asked(served: Served) -> str:
    """Ask until there is an answer, then for an error; return the metrics page."""
    async with httpx2.AsyncClient(base_url=served.url, timeout=30) as client:

        async def answers() -> bool:
            return (await client.post("/predictions/obedient", json={})).status_code == 200

        await until_told(answers)
        headers = {"x-request-id": "the-bad-one"}
        assert (await client.post("/predictions/obedient?a=1", json={"raise": "boo"}, headers=headers)).status_code == 503
        return (await client.get("/metrics")).text


async def test_torchserves_files_have_torchserves_forms(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    async with serving(tmp_path, arguments(tmp_path), environment={"LOG_LOCATION": str(logs)}) as served:
        await asked(served)
        await until(lambda: says(logs / "access_log.log", "a=1") and says(logs / "model_log.log", "boo"))
    access = (logs / "access_log.log").read_text().splitlines()
    assert all(re.fullmatch(rf'{STAMP} - /127\.0\.0\.1:\d+ "[A-Z]+ \S+ HTTP/1\.1" \d{{3}} \d+', line) for line in access)
    assert re.search(r'"POST /predictions/obedient\?a=1 HTTP/1\.1" 503 \d+$', access[-1])
    server = (logs / "ts_log.log").read_text()
    assert re.search(rf"^{STAMP} \[INFO \] main flambeau\.programs\.model_server - door open address=http://\S+ serves=\S+$", server, re.M)
    assert "boo" not in server
    model = (logs / "model_log.log").read_text().splitlines()
    assert all(re.match(rf"{STAMP} \[INFO \] W-\d+-obedient_1\.0-stdout MODEL_LOG - ", line) for line in model)
    [failed] = [line for line in model if "handler of model" in line]
    assert failed.endswith("request_id=the-bad-one")
    assert sorted(path.name for path in logs.glob("*.log")) == ["access_log.log", "model_log.log", "ts_log.log"]


async def test_without_a_word_no_log_file_is_written_and_lines_carry_model_worker_and_request(tmp_path: Path) -> None:
    async with serving(tmp_path, arguments(tmp_path)) as served:
        await asked(served)
        await until(lambda: says(served.err, "boo") and says(served.out, "a=1"))
    assert not list(tmp_path.rglob("*.log"))
    assert re.search(
        r"INFO    flambeau\.worker: ERROR .* request_id=the-bad-one model=obedient version=1\.0 worker=\d+$", served.err.read_text(), re.M
    )
    assert re.search(rf'^{STAMP} - /127\.0\.0\.1:\d+ "POST /predictions/obedient\?a=1 HTTP/1\.1" 503 \d+$', served.out.read_text(), re.M)


async def test_json_lines(tmp_path: Path) -> None:
    async with serving(tmp_path, arguments(tmp_path), environment={"FLAMBEAU_LOG_FORMAT": "json", "FLAMBEAU_LOG_LEVEL": "info"}) as served:
        async with httpx2.AsyncClient(base_url=served.url, timeout=30) as client:

            async def answers() -> bool:
                return (await client.post("/predictions/obedient", json={}, headers={"x-request-id": "mine"})).status_code == 200

            await until_told(answers)
        await until(lambda: says(served.out, '"mine"'))
    line = next(json.loads(line) for line in served.out.read_text().splitlines() if '"status":200' in line)
    assert (line["request_id"], line["method"], line["target"], line["logger"]) == ("mine", "POST", "/predictions/obedient", "access")
    assert all(json.loads(line) for line in served.err.read_text().splitlines())


async def test_a_full_disk_costs_lines_and_no_answer(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("ts_log", "access_log", "model_log"):
        (logs / f"{name}.log").symlink_to("/dev/full")
    async with serving(tmp_path, arguments(tmp_path), environment={"LOG_LOCATION": str(logs)}) as served:
        await asked(served)
        dropped = r'flambeau_log_lines_dropped_total{log="(access_log|ts_log|model_log)"} [1-9]'

        async def told() -> bool:
            return len(re.findall(dropped, await asked(served))) == 3

        await until_told(told)
        err = served.err.read_text()
    assert err.count("flambeau: cannot write log access_log: No space left on device; its lines are dropped and counted") == 1


async def test_a_log4j_files_levels_count(tmp_path: Path) -> None:
    (tmp_path / "log4j2.xml").write_text(LOG4J)
    config = f"{CONFIG}vmargs=-Xmx1g -Dlog4j.configurationFile=file://{tmp_path}/log4j2.xml\n"
    async with serving(tmp_path, arguments(tmp_path), config=config) as served:
        await asked(served)
        await until((tmp_path / "logs" / "ts_log.log").exists)
    assert "its levels count; appenders, layouts and filters are Java's and have no effect" in served.err.read_text()
    assert "boo" not in served.err.read_text()
    assert served.out.read_text() == "Model server started.\n"
    assert [path.name for path in (tmp_path / "logs").glob("*.log")] == ["ts_log.log"]
