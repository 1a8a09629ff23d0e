"""Values as HTTP answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from flambeau.control.apiserver import codecs
from flambeau.control.resources.kind import Object

_WARNINGS_MAX = 20
"""Warning headers of one answer; kubectl prints a line for each."""
_WARNING_CHARACTERS_MAX = 1024


def json_answer(value: Object, code: int = 200, warnings: Iterable[str] = (), media_type: str = codecs.JSON) -> Response:
    """Return a JSON answer; warnings go into headers that kubectl prints."""
    answer = Response(codecs.encode(value), status_code=code, media_type=media_type)
    answer.headers["cache-control"] = "no-cache, private"
    for text in list(warnings)[:_WARNINGS_MAX]:
        answer.headers.append("warning", f'299 - "{_quotable(text)}"')
    return answer


def status_answer(status: Object, warnings: Iterable[str] = ()) -> Response:
    """Return a Status as the answer it describes."""
    answer = json_answer(status, status.get("code", 200), warnings)
    if answer.status_code == 401:
        answer.headers["www-authenticate"] = "Bearer"
    seconds = status.get("details", {}).get("retryAfterSeconds")
    if seconds is not None:
        answer.headers["retry-after"] = str(seconds)
    return answer


def _quotable(text: str) -> str:
    """Return a warning's text as it may stand in a header: one line of ASCII, quotes and backslashes escaped."""
    line = " ".join(text[:_WARNING_CHARACTERS_MAX].split()).encode("ascii", "replace").decode()
    printable = "".join(character for character in line if character.isprintable())
    return printable.replace("\\", "\\\\").replace('"', '\\"')


class StreamAnswer(StreamingResponse):
    """An answer that is written as it comes; its source is closed when it ends, however it ends."""

    def __init__(self, source: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(source, media_type=media_type)
        self._source = source

    async def stream_response(self, send: Send) -> None:
        """Write everything, then close the source."""
        try:
            await super().stream_response(send)
        finally:
            await self._source.aclose()
