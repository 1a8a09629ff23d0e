"""The fork server: a process that has torch imported and forks workers on request, in milliseconds and with shared pages.

Started by ``starter.ForkStarter`` as ``python -m flambeau.serving.workers.fork_server``. It is single-threaded, imports and does
nothing else: no tensor, no thread, no CUDA. Requests and reports are JSON messages on one sequenced-packet socket; a request to fork
carries the worker's end of its link and of its output pipe. The workers die with it, and it dies with the front.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

import orjson

from flambeau.foundation.memory import give_back_code
from flambeau.serving.workers import child
from flambeau.serving.workers.kinship import die_with_parent, name_process
from flambeau.serving.workers.preload import COMPILER, PRELOADED, preload

MESSAGE_BYTES_MAX = 4096
"""One message; models' specs go over the workers' own links."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fork server until the front closes its socket."""
    parser = argparse.ArgumentParser(prog="flambeau-fork-server")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the control socket")
    parser.add_argument("--parent", type=int, required=True, help="pid to die with")
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    name_process("fl:fork-server")
    began = time.monotonic()
    imported = _imported_to_stay(PRELOADED)
    server = ForkServer(socket.socket(fileno=options.control))
    server.report({"ready": imported, "seconds": round(time.monotonic() - began, 3)})
    server.serve()
    return 0


def _imported_to_stay(names: Sequence[str]) -> list[str]:
    """Import modules.

    200,000 objects come and stay: to walk them again and again is a quarter of the imports' time, and once at the end 0.2 s to find 3 %
    that could go, in pages that all workers share.
    """
    gc.disable()
    imported = preload(names)
    gc.freeze()
    gc.enable()
    return imported


class ForkServer:
    """Fork workers, signal them, report how they end.

    Args:
        control: the socket to the front.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.EpollSelector()
        self._selector.register(control, selectors.EVENT_READ)
        # Number that the front gave -> pid, and the descriptor that is readable when the process has ended.
        self._workers: dict[int, tuple[int, int]] = {}

    def report(self, message: dict[str, Any]) -> None:
        """Tell the front something; a front that is gone is noticed by ``serve``."""
        with contextlib.suppress(ConnectionError):
            self._control.send(orjson.dumps(message))

    def serve(self) -> None:
        """Serve until the front is gone; the workers then die with this process.

        Between requests it holds no code: a worker maps what it runs itself, and all that it shares with us are objects.
        """
        waits = False
        while True:
            events = self._selector.select(None if waits else 0)
            waits = not events
            if waits:
                give_back_code()
            for key, _ in events:
                if key.data is not None:
                    self._reap(key.data)
                elif not self._request():
                    return

    def _request(self) -> bool:
        """Do what one message asks; False when the front has closed its end."""
        data, ancillary, _, _ = self._control.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(2 * array.array("i").itemsize))
        if not data:
            return False
        descriptors = array.array("i")
        for _, _, content in ancillary:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
        message = orjson.loads(data)
        number = message["worker"]
        if "signal" in message:
            self._signal(number, message["signal"])
        else:
            if message["compiler"] and COMPILER not in sys.modules:
                _imported_to_stay((COMPILER,))
            self._fork(number, *descriptors)
        return True

    def _fork(self, number: int, link: int, output: int) -> None:
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(link)
            os.close(output)
            self.report({"exited": number, "error": f"cannot fork: {error}"})
            return
        if pid == 0:
            _become_worker(self._descriptors(), link, output, server)
        # Both sides make the group, so that a signal sent now finds it whichever of us runs first.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        os.close(link)
        os.close(output)
        ended = os.pidfd_open(pid)
        self._workers[number] = (pid, ended)
        self._selector.register(ended, selectors.EVENT_READ, number)

    def _descriptors(self) -> list[int]:
        """Return what a worker must not keep open."""
        return [self._control.fileno(), self._selector.fileno(), *(ended for _, ended in self._workers.values())]

    def _signal(self, number: int, signal_number: int) -> None:
        """Signal a worker's whole group; we have not reaped it, so that the number is still its own."""
        if number in self._workers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._workers[number][0], signal_number)

    def _reap(self, number: int) -> None:
        pid, ended = self._workers.pop(number)
        self._selector.unregister(ended)
        os.close(ended)
        # Whatever the handler started goes with it; while the leader is not reaped, the group's number cannot be another's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self.report({"exited": number, "status": status})


def _become_worker(inherited: Sequence[int], link: int, output: int, parent: int) -> None:
    """Turn a fresh fork into a worker; never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for descriptor in (*inherited, output):
            os.close(descriptor)
        _reseed()
        code = child.run(socket.socket(fileno=link), parent)
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit(): the stack below is the fork server's.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reseed() -> None:
    """Give a fork random numbers of its own; ``random`` sees to that itself, and torch's are the same in every new process."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _exit_code(error: SystemExit) -> int:
    """Return the status that the interpreter would end with."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
