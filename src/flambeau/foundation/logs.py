"""Logs are facts with fields: one line each, JSON or text, to standard error, and to files where a program opens some.

Call ``configure`` once in a program; everywhere else ``logging.getLogger(__name__)`` with ``extra={"fields": {...}}``. Lines are written by
threads: whoever logs never waits for a disk or a reader.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from flambeau.foundation.clock import rfc3339
from flambeau.foundation.line_writer import Descriptor, LineWriter

Format = Literal["text", "json"]

_WEB_LIBRARY = "httpx2"
"""At INFO it writes each URL that it asks for, whose query is often a signature, which is a secret."""


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{rfc3339(record.created)} {record.levelname:<7} {record.name}: {record.getMessage()}{fields_text(record)}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_PASSTHROUGH_DATACLASS).decode()


class WriterHandler(logging.Handler):
    """Give records to a ``LineWriter``.

    Args:
        writer: whose thread writes them.
        formatter: makes lines of them.
    """

    def __init__(self, writer: LineWriter, formatter: logging.Formatter) -> None:
        super().__init__()
        self._writer = writer
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and hand it on."""
        try:
            text = self.format(record)
        except Exception:  # a log call whose arguments do not fit must not end what it tells of
            self.handleError(record)
            return
        self._writer.write(text.encode("utf-8", "backslashreplace") + b"\n")


def fields_text(record: logging.LogRecord) -> str:
    """Return a record's fields as `` name=value`` each."""
    fields: dict[str, Any] = getattr(record, "fields", {})
    return "".join(f" {name}={value}" for name, value in fields.items())


def configure(level: str = "INFO", format: Format = "text", *, levels: Mapping[str, str] | None = None) -> LineWriter:
    """Send every logger's lines to standard error; those that wait at the program's end are written then.

    Args:
        level: the least severe level that is written.
        format: ``text`` for people, ``json`` for collectors.
        levels: loggers with a level of their own.

    Returns:
        The writer.
    """
    writer = LineWriter("stderr", Descriptor.of(sys.stderr))
    atexit.register(writer.close)
    root = logging.getLogger()
    root.handlers[:] = [WriterHandler(writer, _JsonFormatter() if format == "json" else _TextFormatter())]
    for name, own in {"": level, _WEB_LIBRARY: "WARNING", **(levels or {})}.items():
        logging.getLogger(name).setLevel(own.upper())
    return writer


def tell_directly(text: str) -> None:
    """Say on standard error that a log has failed; not through a log."""
    with contextlib.suppress(OSError, ValueError):  # there is nobody left to tell
        Descriptor.of(sys.stderr).write(f"flambeau: {text}\n".encode())
