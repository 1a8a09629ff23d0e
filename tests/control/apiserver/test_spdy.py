"""SPDY as bytes: what is read right, and that nothing but a broken connection comes of bytes that mean nothing."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.control.apiserver.upgrades import spdy
from flambeau.control.apiserver.upgrades.spdy import Data, Ended, Event, Opened, Pinged, Spdy
from flambeau.control.apiserver.upgrades.takeover import ProtocolBroken


class Client:
    """The other side."""

    def __init__(self) -> None:
        self._pack = zlib.compressobj(zdict=spdy._DICTIONARY)

    def open(self, stream: int, headers: dict[str, str], flags: int = 0) -> bytes:
        texts = [text.encode() for pair in headers.items() for text in pair]
        block = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(text)) + text for text in texts)
        payload = struct.pack(">IIH", stream, 0, 0) + self._pack.compress(block) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        return struct.pack(">HHI", 0x8003, 1, flags << 24 | len(payload)) + payload


def test_the_dictionary_is_the_drafts() -> None:
    assert (len(spdy._DICTIONARY), zlib.adler32(spdy._DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_frames_are_read_however_they_are_cut() -> None:
    client, ping = Client(), struct.pack(">HHII", 0x8003, 6, 4, 7)
    sent = client.open(1, {"streamtype": "error", "port": "80"}, flags=1) + client.open(3, {"streamtype": "data"}) + ping
    sent += struct.pack(">II", 3, 5) + b"hello" + struct.pack(">II", 3, 1 << 24)
    wanted: list[Event] = [Opened(1, {"streamtype": "error", "port": "80"}), Ended(1), Opened(3, {"streamtype": "data"}), Pinged(ping)]
    wanted += [Data(3, b"hello"), Ended(3)]
    for size in (1, 7, len(sent)):
        server = Spdy()
        pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
        assert [event for piece in pieces for event in server.receive(piece)] == wanted


def test_long_data_goes_in_frames_of_which_the_last_ends() -> None:
    sent = Spdy().say(5, b"x" * 70_000, last=True)
    read = list(Spdy().receive(sent))
    assert b"".join(event.data for event in read if isinstance(event, Data)) == b"x" * 70_000
    assert read[-1] == Ended(5)
    assert read.count(Ended(5)) == 1


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">HHI", 0x8002, 1, 0),
        struct.pack(">HHI", 0x8003, 1, 0xFFFFFF),
        struct.pack(">HHI", 0x8003, 1, 14) + bytes(10) + b"\xff\xff\xff\xff",
        Client().open(1, {"streamtype": "x" * (spdy.HEADER_BYTES_MAX + 1)}),
    ],
    ids=["version 2", "a huge frame", "no header block", "headers that unpack to too much"],
)
def test_what_is_no_spdy_breaks_the_connection(sent: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        list(Spdy().receive(sent))


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=64) | st.binary(max_size=40).map(lambda rest: b"\x80\x03\x00\x01\x00\x00\x00" + rest), max_size=8))
def test_no_bytes_do_worse(pieces: list[bytes]) -> None:
    server = Spdy()
    with contextlib.suppress(ProtocolBroken):
        for piece in pieces:
            list(server.receive(piece))
