from __future__ import annotations

import asyncio
import itertools
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.serving.workers.link import (
    TEXT_BYTES_MAX,
    BrokenFrame,
    ChildLink,
    Frame,
    FrameReader,
    FrontLink,
    Kind,
    frame_buffers,
    socket_pair,
)

FRAMES = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=50), st.lists(st.binary(max_size=200), max_size=4)), max_size=6)


@given(frames=FRAMES, cuts=st.lists(st.integers(min_value=0, max_value=2000), max_size=20))
def test_frames_survive_any_cutting_of_the_stream(frames: list[tuple[Kind, bytes, list[bytes]]], cuts: list[int]) -> None:
    stream = b"".join(b"".join(frame_buffers(*frame)) for frame in frames)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = FrameReader(10_000)
    got = [frame for start, end in itertools.pairwise(edges) for frame in reader.feed(stream[start:end])]
    assert got == [Frame(kind, text, b"".join(bodies)) for kind, text, bodies in frames]


@pytest.mark.parametrize("piece", [1000, 20_000, 10_000_000])
def test_the_child_reads_small_and_big_frames_however_they_come(piece: int) -> None:
    ours, theirs = socket_pair()
    ours.setblocking(True)
    sizes = [0, 10, 16_000, 300_000, 5, 5, 16_384, 0, 100_000, 3]
    frames = [(Kind.BATCHES, b"t" * number, [bytes([number]) * size]) for number, size in enumerate(sizes)]
    stream = b"".join(b"".join(frame_buffers(*frame)) for frame in frames)

    def send() -> None:
        for start in range(0, len(stream), piece):
            ours.sendall(stream[start : start + piece])
        ours.close()

    sending = threading.Thread(target=send)
    sending.start()
    link = ChildLink(theirs)
    for kind, text, [body] in frames:
        assert link.receive() == Frame(kind, text, body)
    sending.join()
    assert link.has_frame()  # the end
    assert link.receive() is None
    link.close()


@given(st.binary(max_size=200))
def test_no_bytes_whatever_do_worse_than_a_broken_frame(data: bytes) -> None:
    try:
        list(FrameReader(1000).feed(data))
    except BrokenFrame:
        return


def test_a_frame_over_the_bound_is_refused_before_its_bytes_come() -> None:
    header = struct.pack("<BxxxIQ", Kind.ANSWERS, 2, 1001)
    with pytest.raises(BrokenFrame, match="ANSWERS frame with 1001 bytes of bodies came, at most 1000"):
        list(FrameReader(1000).feed(header))
    with pytest.raises(BrokenFrame, match="bytes of text"):
        list(FrameReader(1000).feed(struct.pack("<BxxxIQ", Kind.ANSWERS, TEXT_BYTES_MAX + 1, 0)))
    with pytest.raises(BrokenFrame, match="kind 99"):
        list(FrameReader(1000).feed(struct.pack("<BxxxIQ", 99, 0, 0)))


@pytest.mark.parametrize("size", [0, 1, 300, 5_000_000])
async def test_both_ends_understand_each_other(size: int) -> None:
    ours, theirs = socket_pair()
    body = bytes(size)
    came: asyncio.Queue[Frame] = asyncio.Queue()
    lost: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    front = FrontLink(ours, 10_000_000, came.put_nowait, lost.set_result)
    await front.open()

    def echo() -> None:
        child = ChildLink(theirs)
        for _ in range(2):
            frame = child.receive()
            assert frame is not None
            child.send(Kind.ANSWERS, frame.text, [bytes(frame.body)])
        child.close()

    worker = threading.Thread(target=echo)
    worker.start()
    # More buffers than one sendmsg takes.
    front.send(Kind.BATCHES, b"one", [body, *[b"x"] * 1500])
    front.send(Kind.BATCHES, b"two", [body])
    first = await asyncio.wait_for(came.get(), 10)
    second = await asyncio.wait_for(came.get(), 10)
    assert (first.text, len(first.body), second.text, len(second.body)) == (b"one", size + 1500, b"two", size)
    assert await asyncio.wait_for(lost, 10) is None
    worker.join()


async def test_a_worker_that_breaks_the_protocol_loses_its_link() -> None:
    ours, theirs = socket_pair()
    lost: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    front = FrontLink(ours, 100, lambda _: None, lost.set_result)
    await front.open()
    theirs.sendall(b"HTTP/1.1 200 OK, this is no frame at all")
    reason = await asyncio.wait_for(lost, 10)
    assert reason is not None
    assert "frame" in reason
    front.send(Kind.STOP, b"")  # nothing happens on a closed link
    await asyncio.sleep(0)
    theirs.close()


def test_the_child_sees_the_end_of_the_stream() -> None:
    ours, theirs = socket_pair()
    child = ChildLink(theirs)
    ours.setblocking(True)
    ours.sendall(struct.pack("<BxxxIQ", Kind.BATCHES, 100, 0) + b"half")
    ours.close()
    assert child.receive() is None
    child.close()
