"""Parts of answers over a real link, gathered by a sender."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from flambeau.serving.model import Answer
from flambeau.serving.workers import part_sender
from flambeau.serving.workers.link import ChildLink, Frame, FrameReader, Kind, socket_pair
from flambeau.serving.workers.messages import Progress, parts_of
from flambeau.serving.workers.part_sender import GATHERED_BYTES_MAX, GATHERED_PARTS_MAX, PartSender

HEAD = Answer(200, "text/plain", b"")


class Front:
    """The front's end of a link, blocking."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(20)
        self.end = end
        self._reader = FrameReader(10_000_000)
        self._frames: list[Frame] = []

    def next(self) -> list[Progress]:
        """Return the next frame's parts."""
        while not self._frames:
            self._frames += self._reader.feed(self.end.recv(1 << 20))
        frame = self._frames.pop(0)
        assert frame.kind is Kind.CHUNK
        return parts_of(frame.text, frame.body)


@pytest.fixture
def ends() -> Iterator[tuple[PartSender, Front]]:
    ours, theirs = socket_pair()
    sender = PartSender(ChildLink(theirs))
    yield sender, Front(ours)
    ours.close()
    with pytest.raises(ConnectionError):
        sender.send(0, HEAD, b"nobody reads this")
    if sender._flusher is not None:
        sender._held = {0: Progress(0, None, [b"nor this"])}
        sender._waiting.set()
        sender._flusher.join(20)  # it ends with the front
        assert not sender._flusher.is_alive()
    theirs.close()


def test_a_first_part_goes_at_once_and_a_later_one_by_itself(ends: tuple[PartSender, Front]) -> None:
    sender, front = ends
    sender.send(0, HEAD, b"one")
    assert front.next() == [Progress(0, HEAD, [b"one"])]
    sender.send(0, None, b"two")
    assert front.next() == [Progress(0, None, [b"two"])], "though nobody sent a third part, nor flushed"


def test_parts_that_come_together_share_a_frame(ends: tuple[PartSender, Front], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_sender, "GATHER_SECONDS", 2)
    sender, front = ends
    sender.send(0, HEAD, b"one")
    sender.send(0, None, b"two")
    sender.send(0, None, b"")
    sender.send(1, HEAD, b"first of another job")
    assert front.next() == [Progress(0, HEAD, [b"one"])]
    assert front.next() == [Progress(0, None, [b"two", b""]), Progress(1, HEAD, [b"first of another job"])]
    sender.send(1, None, b"three")
    sender.send(0, None, b"four")
    sender.flush()
    assert front.next() == [Progress(1, None, [b"three"]), Progress(0, None, [b"four"])]


def test_what_waits_is_bounded(ends: tuple[PartSender, Front], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_sender, "GATHER_SECONDS", 2)
    sender, front = ends
    sender.send(0, HEAD, b"")
    front.next()
    for _ in range(GATHERED_PARTS_MAX):
        sender.send(0, None, b"x")
    assert [len(each.parts) for each in front.next()] == [GATHERED_PARTS_MAX]
    sender.send(0, None, b"x" * (GATHERED_BYTES_MAX - 1))
    sender.send(0, None, b"x")
    assert [len(each.parts) for each in front.next()] == [2]
