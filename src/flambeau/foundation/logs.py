"""Logs are facts with fields: one line each, JSON or text, to standard error.

Call ``configure`` once in a program; everywhere else ``logging.getLogger(__name__)`` with ``extra={"fields": {...}}``. User code in
workers keeps using plain ``logging``; its lines go through the same place.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import orjson

from flambeau.foundation.clock import rfc3339

Format = Literal["text", "json"]


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        tail = "".join(f" {name}={value}" for name, value in fields.items())
        line = f"{rfc3339(record.created)} {record.levelname:<7} {record.name}: {record.getMessage()}{tail}"
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
        return orjson.dumps(line, default=str).decode()


def configure(level: str = "INFO", format: Format = "text") -> None:
    """Send every logger's lines to standard error.

    Args:
        level: the least severe level that is written.
        format: ``text`` for people, ``json`` for collectors.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
