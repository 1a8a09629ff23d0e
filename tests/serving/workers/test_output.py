from __future__ import annotations

import itertools
import os

from hypothesis import given
from hypothesis import strategies as st

from flambeau.serving.workers.output import LINE_BYTES_MAX, LINES_MAX, TAIL_BYTES_MAX, LineBuffer, OutputReader
from tests.serving.workers.kit import until


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_lines_are_the_same_however_they_come(data: bytes, cuts: list[int]) -> None:
    whole: list[str] = []
    buffer = LineBuffer(whole.append)
    buffer.feed(data)
    buffer.end()
    pieces: list[str] = []
    buffer = LineBuffer(pieces.append)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(edges):
        buffer.feed(data[start:end])
    buffer.end()
    assert pieces == whole


def test_the_tail_is_bounded_in_lines_and_bytes() -> None:
    buffer = LineBuffer(lambda _: None)
    for number in range(1000):
        buffer.feed(f"line {number}\n".encode())
    assert len(buffer.tail()) == LINES_MAX
    assert buffer.tail()[-1] == "line 999"
    buffer.feed(b"x" * 1_000_000)
    assert sum(map(len, buffer.tail())) <= TAIL_BYTES_MAX
    assert max(map(len, buffer.tail())) <= LINE_BYTES_MAX


async def test_a_pipe_is_read_to_its_end() -> None:
    ours, theirs = os.pipe()
    lines: list[str] = []
    reader = OutputReader(ours, lines.append)
    os.write(theirs, b"one\ntwo\nthr")
    await until(lambda: lines == ["one", "two"])
    os.write(theirs, b"ee")
    reader.close()
    os.close(theirs)
    assert reader.tail() == ("one", "two", "three")
    reader.close()
