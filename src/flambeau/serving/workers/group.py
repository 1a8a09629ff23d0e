"""The leader of a parallel worker (parallelType pp, tp, pptp): it has the link to the front, torchrun has the processes.

To the front the group is one worker. The leader hands the model's spec to every rank and says loaded when all are; requests go to rank 0
for ``pp``, to all ranks otherwise; what rank 0 answers goes to the front. A rank that fails ends the group, and the front starts it anew.
Started by ``starter.FreshStarter`` as ``python -m flambeau.serving.workers.group``.
"""

from __future__ import annotations

import argparse
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import orjson

from flambeau.serving.model import ModelSpec, Parallelism
from flambeau.serving.workers.kinship import die_with_parent, name_process
from flambeau.serving.workers.link import ChildLink, Frame, Kind
from flambeau.serving.workers.messages import LoadFailure, load_failure_of, load_failure_text, spec_of, spec_text
from flambeau.serving.workers.rank import RANK

END_SECONDS = 10.0
"""From telling the ranks to stop, or losing one, to killing torchrun."""

_log = logging.getLogger(__name__)

Event = Literal["front", "door", "torchrun"] | int
"""Who can be read: the front, the door for ranks, torchrun's end, a rank."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a group in an interpreter of its own."""
    parser = argparse.ArgumentParser(prog="flambeau-group")
    parser.add_argument("--link", type=int, required=True, help="descriptor of the worker's end of its link")
    parser.add_argument("--parent", type=int, required=True, help="pid to die with")
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # torchrun gets the same SIGTERM and passes it on, so that every rank prints where it stands; we end after it.
    signal.signal(signal.SIGTERM, lambda number, stack: None)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True)
    front = ChildLink(socket.socket(fileno=options.link))
    front.send(Kind.GREETING, orjson.dumps({"pid": os.getpid()}))
    frame = front.receive()
    if frame is None or frame.kind is not Kind.SPEC:
        return 0
    spec = spec_of(frame.text)
    assert spec.config.parallelism is not None, "the starter looked"
    name_process(f"fl:{spec.name}")
    with tempfile.TemporaryDirectory(prefix="flambeau-group-") as directory:
        return Group(front, spec, spec.config.parallelism, Path(directory) / "ranks").run()


class Group:
    """Lead the ranks of one worker.

    Args:
        front: the link to the front.
        spec: the model.
        parallelism: how many processes, and how torchrun brings them together.
        path: of the socket that ranks connect to.
    """

    def __init__(self, front: ChildLink, spec: ModelSpec, parallelism: Parallelism, path: Path) -> None:
        self._front = front
        self._spec = spec
        self._parallelism = parallelism
        self._path = path
        self._ranks: dict[int, ChildLink] = {}
        self._loaded: set[int] = set()
        self._failed = False
        self._first_gone: int | None = None
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Start torchrun and lead until the front says stop or a rank fails; return the exit code."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.bind(str(self._path))
            door.listen(self._parallelism.processes)
            torchrun = subprocess.Popen(torchrun_command(self._parallelism, self._path, self._spec), env=self._environment())
            ended = os.pidfd_open(torchrun.pid)
            self._selector.register(door, selectors.EVENT_READ, "door")
            self._selector.register(self._front.fileno(), selectors.EVENT_READ, "front")
            self._selector.register(ended, selectors.EVENT_READ, "torchrun")
            try:
                self._lead(door)
            except ConnectionError:
                pass  # the front or a rank has gone: below, torchrun tells how
            finally:
                code = self._end(torchrun)
                os.close(ended)
                self._selector.close()
        if self._first_gone is not None:  # the last line that is printed is the one that people read
            _log.error("rank %d of %d ended first; above are its words and torchrun's", self._first_gone, self._parallelism.processes)
        return code

    def _lead(self, door: socket.socket) -> None:
        """Pass frames to and fro; returns when it is over."""
        while True:
            for key, _ in self._selector.select():
                event: Event = key.data
                if event == "door":
                    self._admit(door.accept()[0])
                elif event == "torchrun":
                    return
                elif event == "front":
                    frame = self._front.receive()
                    if frame is None or frame.kind is Kind.STOP:
                        return
                    self._pass_down(frame)
                elif isinstance(event, int):
                    frame = self._ranks[event].receive()
                    if frame is None:
                        self._first_gone = event
                        return
                    self._pass_up(event, frame)

    def _admit(self, end: socket.socket) -> None:
        """Take a rank in and give it the model's spec, with a device of its own."""
        (rank,) = RANK.unpack(end.recv(RANK.size, socket.MSG_WAITALL))
        link = self._ranks[rank] = ChildLink(end)
        self._selector.register(end, selectors.EVENT_READ, rank)
        config = self._spec.config
        if config.device != "cpu":
            config = replace(config, device=f"cuda:{rank % self._parallelism.processes}")
        link.send(Kind.SPEC, spec_text(replace(self._spec, config=config)))

    def _pass_down(self, frame: Frame) -> None:
        """Give what the front says to the ranks that run requests."""
        ranks = [0] if self._parallelism.kind == "pp" else list(self._ranks)
        for rank in ranks:
            self._ranks[rank].send(frame.kind, frame.text, [bytes(frame.body)])

    def _pass_up(self, rank: int, frame: Frame) -> None:
        """Give what a rank says to the front: of answers rank 0's, and whether all have loaded."""
        if frame.kind is Kind.LOAD_FAILED:
            if not self._failed:
                self._failed = True
                told = load_failure_of(frame.text)
                message = f"{told.message} (rank {rank} of {self._parallelism.processes})"
                self._front.send(Kind.LOAD_FAILED, load_failure_text(LoadFailure(message, told.hint, told.traceback_text)))
            raise ConnectionAbortedError
        if frame.kind is Kind.LOADED:
            self._loaded.add(rank)
            if len(self._loaded) == self._parallelism.processes:
                self._front.send(Kind.LOADED, b"{}")
        elif rank == 0 and frame.kind is not Kind.GREETING:
            self._front.send(frame.kind, frame.text, [bytes(frame.body)])

    def _end(self, torchrun: subprocess.Popen[bytes]) -> int:
        """Let the ranks go and wait for torchrun; return its exit code."""
        for link in self._ranks.values():
            try:
                link.send(Kind.STOP, b"{}")
            except ConnectionError:
                continue  # the one that has gone
            finally:
                link.close()
        try:
            return torchrun.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            torchrun.terminate()
        try:
            return torchrun.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            torchrun.kill()
            return torchrun.wait()

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._parallelism.compute_threads), "PYTHONSAFEPATH": "1"}
        if self._spec.config.visible_devices:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, self._spec.config.visible_devices))
        return environment


def torchrun_command(parallelism: Parallelism, path: Path, spec: ModelSpec) -> list[str]:
    """Return torchrun's command line: our ranks, no restarts of its own, on one machine over loopback unless told otherwise."""
    where = ["--rdzv-endpoint", parallelism.rendezvous_endpoint or "127.0.0.1:0"]
    if parallelism.rendezvous_endpoint is None:
        where += ["--local-addr", "127.0.0.1"]
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", str(parallelism.nodes), "--nproc-per-node", str(parallelism.processes)),
        *("--rdzv-backend", parallelism.rendezvous_backend, *where, "--rdzv-id", f"{spec.name}-{os.getpid()}"),
        *("--max-restarts", "0", "-m", "flambeau.serving.workers.rank", "--socket", str(path)),
    ]


if __name__ == "__main__":
    sys.exit(main())
