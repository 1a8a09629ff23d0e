from __future__ import annotations

import asyncio
import io
import re

from flambeau.serving.frontends import access_log
from flambeau.serving.frontends.access_log import AccessLog


def record(log: AccessLog, target: bytes = b"/predictions/m") -> None:
    log.record(peer="127.0.0.1:4", method="POST", target=target, status=200, seconds=0.0031)


async def test_lines_look_as_torchserves() -> None:
    stream = io.BytesIO()
    log = AccessLog(stream)
    record(log)
    log.flush()
    form = rb'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3} - /127\.0\.0\.1:4 "POST /predictions/m HTTP/1\.1" 200 3\n'
    assert re.fullmatch(form, stream.getvalue())


async def test_lines_are_written_by_themselves_soon() -> None:
    written = asyncio.Event()

    class Stream(io.BytesIO):
        def flush(self) -> None:
            written.set()

    stream = Stream()
    log = AccessLog(stream)
    record(log)
    record(log)
    assert stream.getvalue() == b""
    await asyncio.wait_for(written.wait(), 5)
    assert stream.getvalue().count(b"\n") == 2


async def test_a_full_buffer_is_written_at_once_and_targets_are_cut() -> None:
    stream = io.BytesIO()
    log = AccessLog(stream)
    while not stream.getvalue():
        record(log, b"/" + b"x" * 8000)
    assert len(stream.getvalue()) < access_log.BUFFER_BYTES_MAX + 2 * access_log.TARGET_BYTES_MAX
    log.flush()


async def test_a_reader_that_went_away_ends_the_log_only() -> None:
    stream = io.BytesIO()
    log = AccessLog(stream)
    stream.close()
    record(log)
    log.flush()
    record(log)
    log.flush()
