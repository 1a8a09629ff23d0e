"""Start worker processes: from the fork server, or from a fresh interpreter.

``pool.WorkerPool`` takes a Starter. One ``ForkStarter`` serves all models of a server; ``begin()`` it before archives are unpacked, so
that its imports run meanwhile. Where the fork server cannot run, workers come from fresh interpreters.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import psutil

from flambeau.serving.model import ModelSpec
from flambeau.serving.workers.failure import Exit, exit_of_returncode, exit_of_wait_status
from flambeau.serving.workers.fork_server import MESSAGE_BYTES_MAX
from flambeau.serving.workers.preload import uses_compiler

_log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""From closing the fork server's socket to killing it."""

WORKER = "flambeau.serving.workers.child"
GROUP = "flambeau.serving.workers.group"
LAUNCHER = "flambeau.serving.workers.launcher"
"""Modules that are a worker to the front."""

OnExit = Callable[[Exit], None]


class WorkerProcess(Protocol):
    """A process that was asked for; it may not run yet."""

    def signal(self, number: int) -> None:
        """Send a signal to its whole group; nothing if it has ended."""
        ...


class Starter(Protocol):
    """Where worker processes come from.

    Attributes:
        hidden_variables: a regular expression; workers don't get variables whose whole name matches.
        launcher_arguments: of torch's launcher for Xeon processors, which starts the workers then; None: nothing does.
    """

    hidden_variables: str
    launcher_arguments: tuple[str, ...] | None

    def start(self, link: socket.socket, output: int, on_exit: OnExit) -> WorkerProcess:
        """Ask for a worker process; returns at once.

        Args:
            link: the worker's end of its link; this call closes our copy when the worker has it.
            output: the writing end of the worker's output pipe; closed likewise.
            on_exit: called once, on the loop, when the process has ended or could not be started.
        """
        ...


def starter_of(spec: ModelSpec, forks: Starter) -> Starter:
    """Return where a model's workers come from.

    Args:
        spec: the model.
        forks: the starter of models that need nothing else: its forks have imported the server's own packages.
    """
    parallelism = spec.config.parallelism
    module = GROUP if parallelism is not None and parallelism.is_group else WORKER
    interpreter = str(spec.interpreter or sys.executable)
    if module == WORKER and forks.launcher_arguments is not None:
        return LaunchedStarter(interpreter, forks.launcher_arguments, spec.config.max_workers, forks.hidden_variables)
    if module == WORKER and spec.packages is None and spec.interpreter is None:
        return CompilerStarter(forks) if isinstance(forks, ForkStarter) and uses_compiler(spec) else forks
    return FreshStarter(interpreter, module, forks.hidden_variables)


def worker_environment(environment: Mapping[str, str], hidden_variables: str = "") -> dict[str, str]:
    """Return the environment of workers: one compute thread each, unless the operator chose otherwise.

    With as many workers as cores two OpenMP threads each spin against one another: ten times slower at batch 4, measured.
    """
    seen = {name: value for name, value in environment.items() if not re.fullmatch(hidden_variables, name)}
    return {"OMP_NUM_THREADS": "1", **seen, "PYTHONUNBUFFERED": "1"}


class FreshStarter:
    """Start each worker as an interpreter of its own: 2 s and 280 MB more than a fork, for models with their own environment.

    Args:
        interpreter: the Python to run.
        module: what it runs: a worker, or the leader of a group of them.
        hidden_variables: a regular expression for names of variables.
    """

    launcher_arguments: tuple[str, ...] | None = None

    def __init__(self, interpreter: str = sys.executable, module: str = WORKER, hidden_variables: str = "") -> None:
        self._interpreter = interpreter
        self._module = module
        self.hidden_variables = hidden_variables

    def start(self, link: socket.socket, output: int, on_exit: OnExit) -> WorkerProcess:
        """Start a process."""
        environment = worker_environment(os.environ, self.hidden_variables)
        return _started([self._interpreter, "-P", "-m", self._module], environment, link, output, on_exit)


class LaunchedStarter:
    """Start each worker through torch's launcher for Xeon processors. Several workers get cores of their own, where there are enough.

    Args:
        interpreter: the Python to run.
        arguments: the launcher's.
        workers: the most that run at once.
        hidden_variables: a regular expression for names of variables.
    """

    def __init__(self, interpreter: str, arguments: tuple[str, ...], workers: int, hidden_variables: str = "") -> None:
        self._interpreter = interpreter
        self.launcher_arguments: tuple[str, ...] | None = arguments
        self._arguments = arguments
        self.hidden_variables = hidden_variables
        cores = psutil.cpu_count(logical=False) or 1
        self._places = set(range(workers)) if 1 < workers <= cores else set()
        self._workers = workers

    def start(self, link: socket.socket, output: int, on_exit: OnExit) -> WorkerProcess:
        """Start a process."""
        environment = worker_environment(os.environ, self.hidden_variables)
        if "OMP_NUM_THREADS" not in os.environ:
            del environment["OMP_NUM_THREADS"]  # the launcher decides, by the cores that it gives to a worker
        place = min(self._places, default=None)
        arguments = list(self._arguments)
        if place is not None:
            self._places.remove(place)
            arguments += ["--ninstances", str(self._workers), "--rank", str(place)]

        def ended(how: Exit) -> None:
            if place is not None:
                self._places.add(place)
            on_exit(how)

        command = [self._interpreter, "-P", "-m", LAUNCHER, f"--arguments={shlex.join(arguments)}"]
        return _started(command, environment, link, output, ended)


def _started(command: list[str], environment: Mapping[str, str], link: socket.socket, output: int, on_exit: OnExit) -> WorkerProcess:
    """Start one of our modules; what it gets is closed here."""
    try:
        process = _module_process([*command, "--link"], link, output, environment)
    except OSError as error:
        asyncio.get_running_loop().call_soon(on_exit, Exit(note=f"could not be started: {error}"))
        return _Unstarted()
    finally:
        link.close()
        os.close(output)
    return _OwnProcess(process, on_exit)


class ForkStarter:
    """Start workers as forks of one process that has torch imported.

    Args:
        fallback: starts workers where the fork server cannot.
        hidden_variables: a regular expression for names of variables.
        launcher_arguments: of torch's launcher, where that starts the workers instead.
    """

    def __init__(
        self, fallback: Starter | None = None, *, hidden_variables: str = "", launcher_arguments: tuple[str, ...] | None = None
    ) -> None:
        self._fallback = fallback or FreshStarter(hidden_variables=hidden_variables)
        self.hidden_variables = hidden_variables
        self.launcher_arguments = launcher_arguments
        self._server: _ServerProcess | None = None
        self._broken = False
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The fork server's pid, None while there is none."""
        return self._server.pid if self._server is not None else None

    def begin(self) -> None:
        """Start the fork server's imports, if it does not run yet; returns at once."""
        if self._server is not None or self._broken or self._closed:
            return
        try:
            self._server = _ServerProcess(self._server_ended, worker_environment(os.environ, self.hidden_variables))
        except OSError as error:
            self._broken = True
            _log.warning("cannot start the fork server, workers start from fresh interpreters: %s", error)

    def start(self, link: socket.socket, output: int, on_exit: OnExit, *, compiler: bool = False) -> WorkerProcess:
        """Fork a worker; a fork server that died is started again by this.

        Args:
            link: as for every starter.
            output: likewise.
            on_exit: likewise.
            compiler: it is to find torch's compiler imported.
        """
        self.begin()
        if self._server is None:
            return self._fallback.start(link, output, on_exit)
        return self._server.fork(_Request(link, output, on_exit, compiler))

    async def close(self) -> None:
        """End the fork server, and with it any worker left. Bounded by CLOSE_SECONDS."""
        self._closed = True
        if self._server is not None:
            await self._server.close()

    def _server_ended(self, server: _ServerProcess, ended: Exit) -> None:
        self._server = None
        if self._closed:
            return
        if server.ready:
            _log.error("the fork server %s, and its workers with it; it starts again with the next worker", ended)
            return
        self._broken = True
        _log.warning("the fork server %s before it was ready; workers start from fresh interpreters", ended)
        for request, handle in server.unsent():
            handle.replaced_by(self._fallback.start(request.link, request.output, request.on_exit))


class CompilerStarter:
    """Start workers as forks that find torch's compiler imported: without it, each would spend half a second and 75 MB of its own.

    Args:
        forks: forks them.
    """

    launcher_arguments: tuple[str, ...] | None = None

    def __init__(self, forks: ForkStarter) -> None:
        self._forks = forks
        self.hidden_variables = forks.hidden_variables

    def start(self, link: socket.socket, output: int, on_exit: OnExit) -> WorkerProcess:
        """Fork a worker."""
        return self._forks.start(link, output, on_exit, compiler=True)


@dataclass(frozen=True, slots=True)
class _Request:
    link: socket.socket
    output: int
    on_exit: OnExit
    compiler: bool


class _ServerProcess:
    """The front's side of one fork server. Requests wait here until it is ready, so that none is lost if it never is."""

    def __init__(self, on_end: Callable[[_ServerProcess, Exit], None], environment: Mapping[str, str]) -> None:
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self.ready = False
        self._next_number = 1
        self._waiting: dict[int, tuple[_Request, _Forked]] = {}
        self._running: dict[int, OnExit] = {}
        self._ended = asyncio.Event()
        try:
            command = [sys.executable, "-P", "-m", "flambeau.serving.workers.fork_server", "--control"]
            self._process = _module_process(command, theirs, None, environment)
        except OSError:
            self._control.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._own = _OwnProcess(self._process, self._exited)
        self._loop.add_reader(self._control.fileno(), self._readable)

    def fork(self, request: _Request) -> WorkerProcess:
        """Ask for a worker."""
        number = self._next_number
        self._next_number += 1
        handle = _Forked(self, number)
        if self.ready:
            self._send_fork(number, request)
        else:
            self._waiting[number] = (request, handle)
        return handle

    def unsent(self) -> list[tuple[_Request, _Forked]]:
        """Return the requests that the fork server never got."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return waiting

    def signal(self, number: int, signal_number: int) -> None:
        """Signal a worker's group."""
        if number in self._waiting:
            request, _ = self._waiting.pop(number)
            request.link.close()
            os.close(request.output)
            self._loop.call_soon(request.on_exit, Exit(note="was let go before it ran"))
        elif number in self._running:
            self._send({"worker": number, "signal": signal_number})

    async def close(self) -> None:
        """Close the control socket, which ends the process; kill it if it does not."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        if not self.ready:
            self._own.signal(signal.SIGKILL)  # it is importing and would not look at its socket for seconds
        try:
            await asyncio.wait_for(self._ended.wait(), CLOSE_SECONDS)
        except TimeoutError:
            self._own.signal(signal.SIGKILL)
            await self._ended.wait()

    def _send_fork(self, number: int, request: _Request) -> None:
        self._running[number] = request.on_exit
        self._send({"worker": number, "compiler": request.compiler}, [request.link.fileno(), request.output])
        request.link.close()
        os.close(request.output)

    def _send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send a message; if the fork server is gone its end is reported by ``_exited``, for all its workers."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._control.sendmsg([orjson.dumps(message)], ancillary)
        except OSError as error:
            # A full socket means that it has not read a few hundred messages: as good as gone, and said so.
            _log.error("the fork server does not take messages: %s", error)
            self._own.signal(signal.SIGKILL)

    def _readable(self) -> None:
        while True:
            try:
                data = self._control.recv(MESSAGE_BYTES_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._loop.remove_reader(self._control.fileno())
                return
            self._report(orjson.loads(data))

    def _report(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self.ready = True
            _log.info("fork server ready", extra={"fields": {"pid": self.pid, "seconds": message["seconds"]}})
            for number, (request, _) in list(self._waiting.items()):
                self._send_fork(number, request)
            self._waiting.clear()
            return
        on_exit = self._running.pop(message["exited"], None)
        if on_exit is not None:
            on_exit(Exit(note=message["error"]) if "error" in message else exit_of_wait_status(message["status"]))

    def _exited(self, ended: Exit) -> None:
        self._readable()  # reports that it sent before it died
        with contextlib.suppress(ValueError):
            self._loop.remove_reader(self._control.fileno())
        self._control.close()
        self._ended.set()
        running, self._running = self._running, {}
        self._on_end(self, ended)
        for on_exit in running.values():
            on_exit(Exit(note=f"died with the fork server, which {ended}"))


class _Forked:
    """A worker of the fork server."""

    def __init__(self, server: _ServerProcess, number: int) -> None:
        self._server = server
        self._number = number
        self._replacement: WorkerProcess | None = None

    def replaced_by(self, process: WorkerProcess) -> None:
        """Stand for another process: the fork server never came up."""
        self._replacement = process

    def signal(self, number: int) -> None:
        """Send a signal to the worker's group."""
        if self._replacement is not None:
            self._replacement.signal(number)
        else:
            self._server.signal(self._number, number)


class _Unstarted:
    """A process that could not be started."""

    def signal(self, number: int) -> None:
        """Do nothing."""


class _OwnProcess:
    """A child of the front, whose end is seen through its pidfd: no signal handler, no thread, whatever the loop."""

    def __init__(self, process: subprocess.Popen[bytes], on_exit: OnExit) -> None:
        self._process = process
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._ended = os.pidfd_open(process.pid)
        self._loop.add_reader(self._ended, self._reap)

    def signal(self, number: int) -> None:
        """Send a signal to the group, while the process is ours to reap."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        self._loop.remove_reader(self._ended)
        os.close(self._ended)
        self.signal(signal.SIGKILL)  # what it started goes with it; its number is its own until the next line
        self._on_exit(exit_of_returncode(self._process.wait()))


def _module_process(command: list[str], end: socket.socket, output: int | None, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start one of our modules in a session of its own, so that a terminal's or an agent's signal to our group is ours alone to handle.

    ``-P`` in the command keeps the working directory off the module path.
    """
    return subprocess.Popen(
        [*command, str(end.fileno()), "--parent", str(os.getpid())],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=[end.fileno()],
        start_new_session=True,
    )
