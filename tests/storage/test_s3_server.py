"""The embedded S3 server of the demo and the system tests."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.fixtures.s3 import SERVER, S3Server, start_s3, stop_s3


def test_objects_survive_a_kill_and_another_port(tmp_path: Path) -> None:
    server = start_s3(tmp_path)
    server.create_bucket("kept")
    server.put("kept", "a/b", b"content")
    server.process.kill()
    stop_s3(server)
    again = start_s3(tmp_path)
    try:
        assert again.client.get_object(Bucket="kept", Key="a/b")["Body"].read() == b"content"
        assert [entry["Key"] for entry in again.client.list_objects_v2(Bucket="kept")["Contents"]] == ["a/b"]
    finally:
        stop_s3(again)


@pytest.mark.parametrize(("access_key", "secret_key"), [("demo:demo", "wrong"), ("nobody:demo", S3Server.secret_key)])
def test_wrong_keys_are_refused(s3_server: S3Server, access_key: str, secret_key: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=s3_server.region,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.list_buckets()
    client.close()


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    server = [
        sys.executable,
        str(SERVER),
        "--data",
        str(tmp_path / "data"),
        "--secret-key",
        "s",
        "--ready-file",
        str(ready),
        "--die-with-parent",
    ]
    program = f"import subprocess, time; print(subprocess.Popen({server!r}).pid, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    deadline = time.monotonic() + 20
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ready.read_text().startswith("http://127.0.0.1:")
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_taken_port_is_said(s3_server: S3Server, tmp_path: Path) -> None:
    command = [sys.executable, str(SERVER), "--data", str(tmp_path), "--secret-key", "s", "--port", str(s3_server.port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"cannot listen on 127.0.0.1:{s3_server.port}: Address already in use\n"
