"""The model server's logs: the console, and TorchServe's five files where somebody expects them.

    access_log.log     2026-11-25T18:05:43,120 - /127.0.0.1:51814 "POST /predictions/mnist HTTP/1.1" 200 3
    ts_log.log         2026-11-25T18:05:43,120 [INFO ] main flambeau.programs.model_server - door open address=http://127.0.0.1:8080
    model_log.log      2026-11-25T18:05:43,120 [INFO ] W-1-mnist_1.0-stdout MODEL_LOG - what the worker printed
    ts_metrics.log     2026-11-25T18:05:43,120 - Requests2XX.Count:1.0|#Level:Host|#hostname:h,timestamp:1795
    model_metrics.log  2026-11-25T18:05:43,120 - PredictionTime.ms:2.1|#ModelName:mnist,Level:Model|#hostname:h,requestID:i,timestamp:1795

Every destination has its thread and its bound: a full disk or a reader that sleeps costs lines, which are counted, and never a request.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flambeau.foundation import logs
from flambeau.foundation.line_writer import Descriptor, LineWriter
from flambeau.foundation.rotating_file import RotatingFile
from flambeau.foundation.timestamps import log4j_time
from flambeau.programs.settings.logs import LogSettings
from flambeau.serving.frontends.access_log import AccessLog
from flambeau.serving.metrics.server import worker_name
from flambeau.serving.workers.pool import PRINTED

_LEVELS = {logging.DEBUG: "DEBUG", logging.INFO: "INFO ", logging.WARNING: "WARN ", logging.ERROR: "ERROR", logging.CRITICAL: "FATAL"}


class ServerLogs:
    """Open what the settings say; one object per process.

    Args:
        settings: what is logged and where.
    """

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._writers: list[LineWriter] = []

    def open(self) -> None:
        """Begin to log."""
        settings = self._settings
        self._writers.append(logs.configure(settings.library_level, settings.format, levels={"flambeau": settings.level}))
        printed = logging.getLogger(PRINTED)
        printed.setLevel("INFO" if settings.workers else logging.CRITICAL + 1)
        if settings.directory is not None:
            own = logs.WriterHandler(self._file(settings.directory / "ts_log.log"), _Log4jFormatter())
            own.addFilter(lambda record: record.name != PRINTED)
            logging.getLogger().addHandler(own)
            printed.addHandler(logs.WriterHandler(self._file(settings.directory / "model_log.log"), _ModelLogFormatter()))

    def access_log(self) -> AccessLog | None:
        """Return the access log; None where there is none."""
        if not self._settings.access:
            return None
        console, directory = self._console(), self._settings.directory
        files = [self._file(directory / "access_log.log")] if directory is not None else []
        return AccessLog(*files, objects=console) if self._settings.format == "json" else AccessLog(console, *files)

    def metric_lines(self) -> tuple[Callable[[str], None], Callable[[str], None]]:
        """Return what takes lines of the server's metrics, and of handlers'."""
        wanted = (("ts_metrics", self._settings.server_metrics), ("model_metrics", self._settings.model_metrics))
        server, model = (self._metric_line(name) if is_wanted else _nowhere for name, is_wanted in wanted)
        return server, model

    def dropped(self) -> Mapping[str, int]:
        """Return how many lines each log has lost."""
        return {writer.name: writer.dropped for writer in self._writers}

    def flush(self) -> None:
        """Wait, bounded, until the console has what was logged so far; blocks."""
        for writer in self._writers[:1]:
            writer.wait_written()

    def close(self) -> None:
        """Write what waits, bounded, and end; loggers go on to the console until the process ends."""
        root, printed = logging.getLogger(), logging.getLogger(PRINTED)
        for logger in (root, printed):
            for handler in logger.handlers[1 if logger is root else 0 :]:
                logger.removeHandler(handler)
        for writer in self._writers[1:]:
            writer.close()
        self.flush()

    def _console(self) -> LineWriter:
        return self._kept(LineWriter("stdout", Descriptor.of(sys.stdout)))

    def _file(self, path: Path) -> LineWriter:
        return self._kept(LineWriter(path.stem, RotatingFile(path), on_trouble=logs.tell_directly))

    def _kept(self, writer: LineWriter) -> LineWriter:
        for each in self._writers:
            if each.name == writer.name:
                return each
        self._writers.append(writer)
        return writer

    def _metric_line(self, name: str) -> Callable[[str], None]:
        directory = self._settings.metrics_directory
        writer = self._file(directory / f"{name}.log") if directory is not None else self._console()
        return lambda line: writer.write(f"{log4j_time(time.time())} - {line}\n".encode())


class _Log4jFormatter(logging.Formatter):
    """TorchServe's ``%d{ISO8601} [%-5p] %t %c - %m%n``."""

    def format(self, record: logging.LogRecord) -> str:
        thread = "main" if record.threadName == "MainThread" else record.threadName
        text = f"{_head(record)} {thread} {record.name} - {record.getMessage()}{logs.fields_text(record)}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _ModelLogFormatter(logging.Formatter):
    """The same for what a worker printed, with the names that TorchServe gives thread and logger."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        worker = worker_name(str(fields.get("model")), str(fields.get("version")), int(fields.get("worker", 0)))
        return f"{_head(record)} {worker}-stdout MODEL_LOG - {record.getMessage()}"


def _head(record: logging.LogRecord) -> str:
    return f"{log4j_time(record.created)} [{_LEVELS.get(record.levelno, record.levelname)}]"


def _nowhere(line: str) -> None:
    """Take a line that nobody wants."""
