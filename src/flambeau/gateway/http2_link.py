"""One HTTP/2 connection, from either side: frames by ``h2``, streams to listeners, flow control both ways with bounded buffers.

``http2_front`` stands on it towards clients, ``http2_upstream`` towards replicas. What one side of a stream has received and its listener
has not asked to pause counts as consumed; what waits to be sent is bounded by ``BACKLOG_BYTES`` and the listener is told when to pause.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import Frame, GoAwayFrame

STREAM_WINDOW_BYTES: Final = 262_144
"""What a peer may send on a stream before we have passed it on."""
CONNECTION_WINDOW_BYTES: Final = 16_777_216
"""On all streams of a connection in one go; it opens again as bytes arrive, so that a stream that stands never stops the others."""
STREAMS_MAX: Final = 256
"""Open streams per connection that a peer may have: at most 64 MiB of bytes that wait."""
FRAME_BYTES_MAX: Final = 65_536
HEADER_BYTES_MAX: Final = 65_536
RESETS_MAX: Final = 1000
"""Requests in a row that a client may take back, or that break HTTP/2; such a stream costs us more than it costs the client
(CVE-2023-44487, CVE-2025-8671)."""
RESETS_PER_SECOND: Final = 100.0
"""How fast they are forgiven."""
_LAST_ID: Final = 2**31 - 3
BACKLOG_BYTES: Final = 65_536
"""Waiting bytes of a stream above which its listener is told to pause; one window more may still come."""

HeaderList = Sequence[tuple[bytes, bytes]]
Codes = h2.errors.ErrorCodes
Broken = h2.exceptions.ProtocolError
"""What the peer sent is no HTTP/2."""


class Listener(Protocol):
    """Who takes what comes in on a stream. After on_reset(), or once both directions have ended, nothing is called any more.

    A request's head comes by Link's on_request; on_head and on_trailers are about answers, or are a client's trailers.
    """

    def on_head(self, headers: HeaderList, ended: bool) -> None:
        """Take the answer's head; ``ended``: it is all there is, and on_done() follows."""

    def on_data(self, data: bytes) -> None:
        """Take a piece of the body."""

    def on_trailers(self, headers: HeaderList) -> None:
        """Take what stands behind the body; on_done() follows."""

    def on_done(self) -> None:
        """Know that the other side has sent everything."""

    def on_reset(self, code: int | None, cause: str) -> None:
        """Know that the stream is gone; code None: with its connection."""

    def on_room(self, room: bool) -> None:
        """Pause or resume writing."""


class Flow:
    """One stream of a link."""

    __slots__ = ("_backlog", "_backlog_bytes", "_blocked", "_ending", "_link", "_owed", "_paused", "id", "in_done", "listener", "out_done")

    listener: Listener

    def __init__(self, link: Link, id: int) -> None:
        self._link = link
        self.id = id
        self.in_done = False
        """The other side has sent everything."""
        self.out_done = False
        """So have we."""
        self._backlog: deque[memoryview] = deque()
        self._backlog_bytes = 0
        self._blocked = False  # the listener was told to pause
        self._ending: HeaderList | None = None  # what to end with: trailers, or nothing
        self._paused = False  # by the listener
        self._owed = 0  # received bytes for which the window isn't open again

    def head(self, headers: HeaderList, *, end: bool = False) -> None:
        """Send an answer's head."""
        if not self.out_done:
            self._link.send_head(self, headers, end)

    def write(self, data: bytes) -> None:
        """Send a piece of the body; respect on_room()."""
        if self.out_done or self._ending is not None or not data:
            return
        self._backlog.append(memoryview(data))
        self._backlog_bytes += len(data)
        self.pump()
        if self._backlog_bytes > BACKLOG_BYTES and not self._blocked:
            self._blocked = True
            self.listener.on_room(False)

    def end(self, trailers: HeaderList = ()) -> None:
        """End our direction, behind what waits."""
        if self._ending is None and not self.out_done:
            self._ending = trailers
            self.pump()

    def reset(self, code: Codes) -> None:
        """Break the stream off; its listener hears nothing more."""
        self._link.reset(self, code)

    def pause(self) -> None:
        """Take no more; at most a window may still come."""
        self._paused = True

    def resume(self) -> None:
        """Take what comes again."""
        self._paused = False
        self.consumed(0)

    def consumed(self, size: int) -> None:
        """Note received bytes, and open the window again once it is worth a frame."""
        self._owed += size
        if self._owed >= STREAM_WINDOW_BYTES // 2 and not self._paused and not self.in_done:
            owed, self._owed = self._owed, 0
            self._link.open_window(owed, self.id)

    def pump(self) -> None:
        """Send what the peer's window and the socket take."""
        link, backlog = self._link, self._backlog
        while backlog:
            room = link.room(self.id)
            if room <= 0:
                return
            piece = backlog[0]
            if len(piece) <= room:
                backlog.popleft()
            else:
                backlog[0] = piece[room:]
                piece = piece[:room]
            self._backlog_bytes -= len(piece)
            link.send_data(self.id, piece)
        if self._ending is not None:
            trailers, self._ending = self._ending, None
            link.send_end(self, trailers)
        elif self._blocked:
            self._blocked = False
            self.listener.on_room(True)


OnRequest = Callable[[Flow, HeaderList, bool], None]


class _Frames(h2.connection.H2Connection):
    """h2 takes GOAWAY for the connection's end; for servers that renew their connections it is a request to begin nothing more."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        told = h2.events.ConnectionTerminated()
        told.last_stream_id = frame.last_stream_id
        return [], [told]

    def refuse_long_frame(self) -> None:
        """Look at what has begun to arrive: h2 would wait for a frame's end, up to 16 MiB, and for a head's, 64 frames long.

        Raises:
            FrameTooLargeError: a frame is too long.
            DenialOfServiceError: a head is.
        """
        pieces = self.incoming_buffer._headers_buffer
        if pieces and sum(len(piece.data) for piece in pieces) > HEADER_BYTES_MAX:
            self.close_connection(Codes.ENHANCE_YOUR_CALM)
            raise h2.exceptions.DenialOfServiceError("a head is too long")
        begun = self.incoming_buffer._data
        if len(begun) >= 3 and int.from_bytes(begun[:3], "big") > self.max_inbound_frame_size:
            self.close_connection(Codes.FRAME_SIZE_ERROR)
            raise h2.exceptions.FrameTooLargeError("a frame is too long")


class Link:
    """One connection, without its socket.

    Args:
        write: sends bytes.
        on_idle: called when the last stream has ended.
        on_request: called when a client begins a request, with (flow, headers, whether they are all there is); sets the flow's listener.
            None: we are the one that asks.
    """

    def __init__(self, write: Callable[[bytes], None], on_idle: Callable[[], None], on_request: OnRequest | None = None) -> None:
        self._write = write
        self._on_idle = on_idle
        self._on_request = on_request
        self._client = on_request is None
        config = h2.config.H2Configuration(
            client_side=self._client,
            header_encoding=None,
            validate_outbound_headers=False,  # they were validated when they came in, or are our own
            normalize_outbound_headers=False,
        )
        self._h2 = _Frames(config)
        self._flush_is_due = False
        self._writable = True
        self._credit = 0
        self._resets = 0.0  # that aren't forgiven yet
        self._reset_at = 0.0
        self.flows: dict[int, Flow] = {}
        self.gone = False
        """The connection can't be used any more."""
        self._going = False  # we take no new streams
        self.told_to_go = False
        """The peer takes no new streams."""
        self.is_ready = False
        """The peer has sent its settings: it speaks HTTP/2."""

    def start(self) -> None:
        """Send the preface and our settings."""
        codes = h2.settings.SettingCodes
        self._h2.initiate_connection()
        settings: dict[h2.settings.SettingCodes | int, int] = {
            codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            codes.MAX_FRAME_SIZE: FRAME_BYTES_MAX,
            codes.MAX_HEADER_LIST_SIZE: HEADER_BYTES_MAX,
            codes.MAX_CONCURRENT_STREAMS: STREAMS_MAX,
        }
        settings[codes.ENABLE_PUSH if self._client else codes.ENABLE_CONNECT_PROTOCOL] = 0 if self._client else 1
        self._h2.update_settings(settings)
        self._h2.max_inbound_frame_size = FRAME_BYTES_MAX  # h2 would refuse a long frame that comes in one read with the acknowledgement
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - 65_535)
        self._flush_soon()

    # What comes in.

    def receive(self, data: bytes) -> None:
        """Work through bytes of the peer's.

        Raises:
            Broken: it is no HTTP/2; the peer was told, the connection has to be closed.
        """
        try:
            events = self._h2.receive_data(data)
            self._h2.refuse_long_frame()
        except Broken:
            self._flush()
            raise
        for event in events:
            self._take(event)
        if self._credit >= CONNECTION_WINDOW_BYTES // 4:
            credit, self._credit = self._credit, 0
            self.open_window(credit, None)
        self._flush_soon()

    def lose(self, cause: str) -> None:
        """Tell every listener that the connection is gone."""
        self.gone = True
        flows, self.flows = self.flows, {}
        for flow in flows.values():
            flow.in_done = flow.out_done = True
            flow.listener.on_reset(None, cause)

    def on_writable(self, writable: bool) -> None:
        """Send nothing while the socket takes nothing."""
        self._writable = writable
        if writable:
            self._pump()

    # What goes out.

    def ask(self, headers: HeaderList, listener: Listener) -> Flow:
        """Begin a request; there must be room."""
        flow = Flow(self, self._h2.get_next_available_stream_id())
        flow.listener = listener
        self.flows[flow.id] = flow
        self._h2.send_headers(flow.id, headers)
        self._flush_soon()
        return flow

    @property
    def has_room(self) -> bool:
        """Whether another request may be begun."""
        most = min(STREAMS_MAX, self._h2.remote_settings.max_concurrent_streams)
        return not (self.gone or self.told_to_go) and len(self.flows) < most and self._h2.highest_outbound_stream_id < _LAST_ID

    def go_away(self) -> None:
        """Tell the peer to begin no new streams; those that run go on."""
        if not self.gone and not self._going:
            self._going = True
            self._flush()
            self._write(GoAwayFrame(0, last_stream_id=self._h2.highest_inbound_stream_id).serialize())

    def room(self, id: int) -> int:
        """Return how many bytes of a stream may be sent in one frame now."""
        if self.gone or not self._writable:
            return 0
        with contextlib.suppress(Broken):  # the peer has reset the stream, and will be heard next
            return min(self._h2.local_flow_control_window(id), self._h2.max_outbound_frame_size)
        return 0

    def send_head(self, flow: Flow, headers: HeaderList, end: bool) -> None:
        """Send an answer's head; ``end``: it is all there is."""
        self._send(lambda: self._h2.send_headers(flow.id, headers, end_stream=end))
        if end:
            self._end_out(flow)

    def send_data(self, id: int, data: memoryview) -> None:
        """Send bytes for which there is room."""
        self._send(lambda: self._h2.send_data(id, data))

    def send_end(self, flow: Flow, trailers: HeaderList) -> None:
        """End our direction of a stream."""
        if trailers:
            self._send(lambda: self._h2.send_headers(flow.id, trailers, end_stream=True))
        else:
            self._send(lambda: self._h2.end_stream(flow.id))
        self._end_out(flow)

    def reset(self, flow: Flow, code: Codes) -> None:
        """Break a stream off."""
        flow.in_done = flow.out_done = True
        if flow.id in self.flows:
            self._send(lambda: self._h2.reset_stream(flow.id, code))
            self._forget(flow)

    def open_window(self, size: int, id: int | None) -> None:
        """Let the peer send more, on one stream or on all."""
        self._send(lambda: self._h2.increment_flow_control_window(size, id))

    # Inside.

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._begin(event)
        elif isinstance(event, h2.events.WindowUpdated) and not event.stream_id:
            self._pump()
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.is_ready = True
            self._pump()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._end_after(event.last_stream_id or 0)
        else:
            if isinstance(event, h2.events.StreamReset) and not self._client:
                self._count_reset()
            if isinstance(event, h2.events.DataReceived):
                self._credit += event.flow_controlled_length
            flow = self.flows.get(getattr(event, "stream_id", 0) or 0)
            if flow is not None:
                self._take_of_stream(flow, event)

    def _take_of_stream(self, flow: Flow, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            flow.listener.on_data(event.data or b"")
            flow.consumed(event.flow_controlled_length)
        elif isinstance(event, h2.events.ResponseReceived):
            flow.listener.on_head(event.headers, event.stream_ended is not None)
        elif isinstance(event, h2.events.TrailersReceived):
            flow.listener.on_trailers(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            flow.in_done = True
            if flow.out_done:
                self._forget(flow)
            flow.listener.on_done()
        elif isinstance(event, h2.events.StreamReset):
            self._lose_stream(flow, event.error_code, "reset the stream")
        elif isinstance(event, h2.events.WindowUpdated):
            flow.pump()

    def _count_reset(self) -> None:
        now = asyncio.get_running_loop().time()
        self._resets = max(0.0, self._resets - (now - self._reset_at) * RESETS_PER_SECOND) + 1.0
        self._reset_at = now
        if self._resets > RESETS_MAX:
            self._h2.close_connection(Codes.ENHANCE_YOUR_CALM)
            self._flush()
            raise h2.exceptions.DenialOfServiceError(f"over {RESETS_MAX} requests were taken back")

    def _begin(self, event: h2.events.RequestReceived) -> None:
        assert self._on_request is not None, "only clients are sent no requests"
        flow = Flow(self, event.stream_id)
        self.flows[flow.id] = flow
        if self._going:
            self.reset(flow, Codes.REFUSED_STREAM)
        else:
            self._on_request(flow, event.headers, event.stream_ended is not None)

    def _end_after(self, last_id: int) -> None:
        """Obey a GOAWAY: what the peer won't look at may be sent elsewhere."""
        self.told_to_go = True
        for flow in [flow for flow in self.flows.values() if self._client and flow.id > last_id]:
            self._lose_stream(flow, Codes.REFUSED_STREAM, "goes away")
        if not self.flows:
            self._on_idle()

    def _lose_stream(self, flow: Flow, code: int | None, cause: str) -> None:
        flow.in_done = flow.out_done = True
        self._forget(flow)
        flow.listener.on_reset(code, cause)

    def _end_out(self, flow: Flow) -> None:
        flow.out_done = True
        if flow.in_done:
            self._forget(flow)
        elif not self._client:
            self.reset(flow, Codes.NO_ERROR)  # RFC 9113, 8.1: an answer that is whole makes the rest of its request needless

    def _forget(self, flow: Flow) -> None:
        self.flows.pop(flow.id, None)
        if not self.flows:
            self._on_idle()

    def _pump(self) -> None:
        for flow in tuple(self.flows.values()):
            if not flow.out_done:
                flow.pump()

    def _send(self, action: Callable[[], None]) -> None:
        if self.gone:
            return
        with contextlib.suppress(Broken, KeyError):  # the peer has reset the stream, and will be heard next; h2 knows it no more
            action()
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Write once for everything that this turn of the loop brings."""
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        data = self._h2.data_to_send()
        if data and not self.gone:
            self._write(data)
