"""``torchserve``: the old server's command line, with exit codes that tell the truth.

``--start`` waits until the doors are open or the server has failed, and ``--stop`` until it has ended; TorchServe returned 0 at once in
both cases, whatever came of it. Only one server runs per temporary directory, as before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from flambeau.foundation.files import write_atomically
from flambeau.programs.settings.server import Flags

TORCHSERVE_VERSION = "0.12.0"
"""The version whose behaviour is kept; scripts read it."""
STOP_SECONDS = 60.0
"""The most that ``--stop`` waits for the server to drain and end."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say and return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    if options.version:
        print(f"TorchServe Version is {TORCHSERVE_VERSION}")
        return 0
    if (temporary := os.environ.get("TEMP")) and not Path(temporary).is_dir():
        print(f"Invalid temp directory: {temporary} (TEMP environment variable).")
        return 1
    pid_file = Path(tempfile.gettempdir()) / ".model_server.pid"
    running = _running_server(pid_file)
    if options.stop:
        return _stop(running, pid_file)
    if running is not None:
        print("TorchServe is already running, please use torchserve --stop to stop TorchServe.")
        return 1
    if (missing := _missing_path(options)) is not None:
        print(missing)
        return 1
    return _run_here(options, pid_file) if options.foreground else _start_behind(arguments)


def parser() -> argparse.ArgumentParser:
    """Return the parser of TorchServe's flags; each one's help shows how it is written."""
    made = argparse.ArgumentParser(
        prog="torchserve",
        description="Serve models with Flambeau under TorchServe's command line.",
        epilog="Example: torchserve --start --model-store model-store --models mnist=mnist.mar --ts-config config.properties",
    )
    what = made.add_mutually_exclusive_group()
    what.add_argument(
        "-v", "--version", action="store_true", help="print the TorchServe version whose behaviour is kept, such as torchserve -v"
    )
    what.add_argument(
        "--start", action="store_true", help="start the server, as without a word, such as torchserve --start --model-store store"
    )
    what.add_argument("--stop", action="store_true", help="stop the server and wait for its end, such as torchserve --stop")
    made.add_argument("--foreground", action="store_true", help="stay in the foreground, as containers want, such as --start --foreground")
    made.add_argument("--ts-config", "--ts_config", metavar="FILE", help="the settings, such as --ts-config config.properties")
    made.add_argument("--model-store", "--model_store", metavar="DIR", help="where the .mar files are, such as --model-store model-store")
    made.add_argument(
        "--workflow-store", "--workflow_store", metavar="DIR", help="where the .war files are, such as --workflow-store workflows"
    )
    made.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="[NAME=]ARCHIVE",
        help="what to load, such as --models all, or --models mnist=mnist.mar b.mar",
    )
    made.add_argument(
        "--no-config-snapshots", "--ncs", action="store_true", help="neither save nor restore snapshots, such as torchserve --start --ncs"
    )
    made.add_argument("--disable-token-auth", "--dt", action="store_true", help="serve without keys, such as torchserve --start --dt")
    made.add_argument(
        "--enable-model-api", action="store_true", help="let models be registered and unregistered, such as --start --enable-model-api"
    )
    made.add_argument("--started-fd", type=int, help=argparse.SUPPRESS)  # from _start_behind to its child
    made.add_argument("--log-config", metavar="FILE", help="a log4j2 file, of which the levels count, such as --log-config log4j2.xml")
    made.add_argument("--cpp-log-config", metavar="FILE", help="no effect, there is no C++ backend, such as --cpp-log-config logging.yaml")
    made.add_argument("--plugins-path", "--ppath", metavar="DIR", help="no effect, plug-ins are Java, such as --plugins-path plugins")
    return made


def _missing_path(options: argparse.Namespace) -> str | None:
    """Return TorchServe's sentence about a path that isn't there."""
    for flag in ("ts_config", "model_store", "workflow_store", "log_config", "cpp_log_config"):
        path = getattr(options, flag)
        if path is not None and not Path(path).exists():
            kind = "directory" if flag.endswith("store") else "file"
            return f"--{flag.replace('_', '-')} {kind} not found: {path}"
    return None


def _flags(options: argparse.Namespace) -> Flags:
    return Flags(
        model_store=options.model_store,
        models=tuple(options.models),
        ts_config=options.ts_config,
        workflow_store=options.workflow_store,
        no_config_snapshots=options.no_config_snapshots,
        disable_token_auth=options.disable_token_auth,
        enable_model_api=options.enable_model_api,
        log_config=options.log_config,
        look_alike=True,
        without_effect=tuple(flag for flag in ("cpp_log_config", "plugins_path") if getattr(options, flag) is not None),
    )


def _run_here(options: argparse.Namespace, pid_file: Path) -> int:
    from flambeau.programs import model_server  # noqa: PLC0415 - --version and --stop need none of it

    def say_started() -> None:
        if options.started_fd is not None:
            os.write(options.started_fd, b"1")
            os.close(options.started_fd)

    if options.started_fd is not None:
        os.set_inheritable(options.started_fd, False)  # else the workers would keep it open, and the parent waiting
    write_atomically(pid_file, str(os.getpid()).encode())
    try:
        return model_server.run(_flags(options), on_started=say_started)
    finally:
        pid_file.unlink(missing_ok=True)


def _start_behind(arguments: Sequence[str]) -> int:
    """Start the server in a session of its own; return when its doors are open (0) or it has failed (its status)."""
    reading, writing = os.pipe()
    again = [argument for argument in arguments if argument != "--start"]
    command = [sys.executable, "-m", "flambeau.cli.torchserve.server", "--foreground", "--started-fd", str(writing), *again]
    with open(reading, "rb") as news:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=(writing,))
        finally:
            os.close(writing)
        if news.read(1):
            return 0
    return process.wait() or 1


def _running_server(pid_file: Path) -> psutil.Process | None:
    """Return the server that the pid file names; a file that names none is removed."""
    try:
        process = psutil.Process(int(pid_file.read_text()))
        command = process.cmdline()[:3]
        if any(part == "flambeau.cli.torchserve.server" or Path(part).name == "torchserve" for part in command):
            return process
    except FileNotFoundError:
        return None
    except (ValueError, OSError, psutil.Error):
        pass
    print("Removing orphan pid file.")
    pid_file.unlink(missing_ok=True)
    return None


def _stop(running: psutil.Process | None, pid_file: Path) -> int:
    if running is None:
        print("TorchServe is not currently running.")
        return 0
    with contextlib.suppress(psutil.NoSuchProcess):
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            print(f"TorchServe (pid {running.pid}) has not ended within {STOP_SECONDS:.0f} s; it still answers what it has accepted.")
            return 1
    pid_file.unlink(missing_ok=True)
    print("TorchServe has stopped.")
    return 0


if __name__ == "__main__":
    main()
