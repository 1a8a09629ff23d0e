"""The whole workflow on one machine, on an embedded S3: train, archive, upload, apply, Ready, predict.

Run it with ``make demo``. Every command is shown before it runs, as you would type it. On a terminal everything stays up at the end so
that you can try it yourself; Ctrl-C ends it. Without a terminal it ends with status 0. Everything it makes lies in ``.demo``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = Path(sys.executable).parent
WORK = ROOT / ".demo"
HOME = WORK / "home"
MODEL = WORK / "model"

S3_PORT, API_PORT, GATEWAY_PORT = 9000, 7443, 8000
BUCKET, PREFIX = "models", "kserve/torchserve/mnist"
ACCESS_KEY, SECRET_KEY = "demo:demo", "demo-secret"
START_SECONDS_MAX = 60.0
READY_SECONDS_MAX = 120.0
COMMAND_SECONDS_MAX = 300.0
STOP_SECONDS_MAX = 45.0

ON_TERMINAL = sys.stdout.isatty()


def main() -> int:
    """Walk through the workflow."""
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends what was started, as Ctrl-C does
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    WORK.mkdir(exist_ok=True)
    with contextlib.ExitStack() as running:
        ports = {"s3": _port(S3_PORT), "api": _port(API_PORT), "gateway": _port(GATEWAY_PORT)}
        with _step("Train the model (scikit-learn's digits, upscaled to 28x28)"):
            _train()
        with _step("Package it as a model archive"):
            _archive()
        with _step("Start an S3 server and upload config/ and model-store/"):
            running.enter_context(_s3(ports["s3"]))
            _upload(ports["s3"])
        with _step("Start the platform"):
            running.enter_context(_platform(ports))
        environment = {**os.environ, "KUBECONFIG": str(HOME / "kubeconfig")}
        with _step("Deploy with kubectl"):
            _deploy(environment, ports)
        with _step("Look at it"):
            for what in ("get pods -n torchserve", "get isvc -n torchserve", "get secret,sa -n torchserve"):
                _run(["kubectl", *what.split()], environment)
        with _step("Call it"):
            _call(ports["gateway"], environment)
        print(f"\n{_bold('Done')} in {time.monotonic() - began:.1f} s.")
        if ON_TERMINAL:
            _stay(ports)
    return 0


# The steps


def _train() -> None:
    if (MODEL / "mnist_cnn.pt").exists():
        print(f"  trained already: {MODEL / 'mnist_cnn.pt'} (delete .demo to train again)")
        return
    _run([sys.executable, str(HERE / "train.py"), "--output", str(MODEL)])


def _archive() -> None:
    store = MODEL / "model-store"
    store.mkdir(exist_ok=True)
    command = "torch-model-archiver --model-name mnist --version 1.0"
    files = f"--model-file {HERE / 'mnist.py'} --serialized-file {MODEL / 'mnist_cnn.pt'} --handler {HERE / 'mnist_handler.py'}"
    _run([*command.split(), *files.split(), "--export-path", str(store), "--force"])


@contextlib.contextmanager
def _s3(port: int) -> Iterator[None]:
    server = ROOT / "examples" / "s3" / "server.py"
    command = [sys.executable, str(server), "--die-with-parent", "--data", str(WORK / "s3"), "--port", str(port)]
    command += ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
    with _background(command, "S3 ready", WORK / "s3.log"):
        yield


def _upload(port: int) -> None:
    from obstore.store import S3Store  # noqa: PLC0415 - the demo shows its first line before it loads anything

    _make_bucket(port)
    store = S3Store(
        BUCKET,
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    for path in (HERE / "config" / "config.properties", MODEL / "model-store" / "mnist.mar"):
        key = f"{PREFIX}/{path.parent.name}/{path.name}"
        store.put(key, path.read_bytes())
        print(f"  s3://{BUCKET}/{key}  {path.stat().st_size:,} bytes")


def _make_bucket(port: int) -> None:
    import boto3  # noqa: PLC0415

    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )
    if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)


@contextlib.contextmanager
def _platform(ports: Mapping[str, int]) -> Iterator[None]:
    command = [str(BIN / "flambeau"), "up", "--home", str(HOME)]
    command += ["--api", f"127.0.0.1:{ports['api']}", "--gateway", f"127.0.0.1:{ports['gateway']}"]
    _show(command)
    with _background(command, "ready", WORK / "platform.log"):
        yield


def _deploy(environment: Mapping[str, str], ports: Mapping[str, int]) -> None:
    if subprocess.run(["kubectl", "get", "ns", "torchserve"], env=environment, capture_output=True, check=False).returncode:
        _run(["kubectl", "create", "ns", "torchserve"], environment)
    secret = (HERE / "kubernetes" / "s3-secret.yaml").read_text().replace(":9000", f":{ports['s3']}")
    _run(["kubectl", "apply", "-f", "-"], environment, stdin=secret, shown="kubectl apply -f examples/mnist/kubernetes/s3-secret.yaml")
    for name in ("service-account", "inference-service"):
        _run(["kubectl", "apply", "-f", str(HERE / "kubernetes" / f"{name}.yaml")], environment)
    wait = f"kubectl wait --for=condition=Ready isvc/mnist-torchserve -n torchserve --timeout={READY_SECONDS_MAX:.0f}s"
    _run(wait.split(), environment)
    _run(["kubectl", "apply", "-f", str(HERE / "kubernetes" / "virtual-service.yaml")], environment)


def _call(port: int, environment: Mapping[str, str]) -> None:
    gateway = f"http://127.0.0.1:{port}"
    request = ["-H", "Content-Type: application/json", "-d", f"@{MODEL / 'mnist.json'}"]
    print(_picture(MODEL / "zero.png"))
    host = "Host: mnist-torchserve.torchserve.svc.cluster.local"
    answer = _curl(["-H", host, *request, f"{gateway}/v1/models/mnist:predict"])
    if answer != '{"predictions":[0]}':
        raise SystemExit(f'expected {{"predictions":[0]}}, got {answer!r}')
    _curl([*request, f"http://mnist-torchserve.torchserve.localhost:{port}/v1/models/mnist:predict"])
    _curl(["-H", "Host: mnist.example.com", *request, f"{gateway}/digits"])
    _curl(["-H", "Host: nobody.example.com", *request, f"{gateway}/v1/models/mnist:predict"])
    _run(["kubectl", "delete", "-f", str(HERE / "kubernetes" / "virtual-service.yaml")], environment)


def _stay(ports: Mapping[str, int]) -> None:
    print(f"""
  gateway     http://mnist-torchserve.torchserve.localhost:{ports["gateway"]}
  kubectl     export KUBECONFIG={HOME / "kubeconfig"}
  S3          http://127.0.0.1:{ports["s3"]}  (access key {ACCESS_KEY}, secret key {SECRET_KEY})
  logs        {WORK / "platform.log"}

{_bold("Everything stays up. Ctrl-C ends it.")}""")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    print("stopping")


# Their tools


@contextlib.contextmanager
def _step(title: str) -> Iterator[None]:
    print(f"\n{_bold(title)}", flush=True)
    began = time.monotonic()
    yield
    print(f"  ({time.monotonic() - began:.1f} s)", flush=True)


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if ON_TERMINAL else f"== {text}"


def _show(command: list[str]) -> None:
    words = [os.path.relpath(word, ROOT) if word.startswith(f"{ROOT}/") else word for word in command]
    print("  $ " + shlex.join(words).replace(f"{os.path.relpath(BIN, ROOT)}/", ""), flush=True)


def _run(command: list[str], environment: Mapping[str, str] | None = None, *, stdin: str | None = None, shown: str = "") -> str:
    """Show a command, run it, show what it said; a failure ends the demo."""
    _show(shlex.split(shown) if shown else command)
    program = shutil.which(command[0], path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise SystemExit(f"{command[0]} is not installed")
    done = subprocess.run(
        [program, *command[1:]],
        env=environment,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    for line in done.stdout.splitlines():
        print(f"    {line}", flush=True)
    if done.returncode:
        raise SystemExit(f"the command ended with status {done.returncode}; the platform's log is {WORK / 'platform.log'}")
    return done.stdout.strip()


def _curl(arguments: list[str]) -> str:
    return _run(["curl", "--silent", "--show-error", "--max-time", "30", *arguments])


@contextlib.contextmanager
def _background(command: list[str], ready: str, log: Path) -> Iterator[None]:
    """Run a server until the block ends; it counts as started when it has written the word."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            _wait_for(process, ready, log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        text = log.read_text()
        for line in text.splitlines():
            if ready in line:
                print(f"    {line}")
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{log.stem} did not start; it said:\n{text[-2000:]}")
        time.sleep(0.05)


def _port(preferred: int) -> int:
    """Return the port, or another free one when somebody has it."""
    for wanted in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", wanted))
                return int(probe.getsockname()[1])
    raise SystemExit("no free port on 127.0.0.1")


def _picture(path: Path) -> str:
    """Return a grey picture as text, two pixels a character."""
    from PIL import Image  # noqa: PLC0415

    picture = Image.open(path).convert("L")
    width, height = picture.size
    lines = []
    for y in range(0, height, 2):
        cells = [(_pixel(picture.getpixel((x, y))), _pixel(picture.getpixel((x, min(y + 1, height - 1))))) for x in range(width)]
        lines.append("    " + "".join(" ▀▄█"[(upper > 100) + 2 * (lower > 100)] for upper, lower in cells))
    return "\n".join(lines)


def _pixel(value: float | tuple[int, ...] | None) -> float:
    assert isinstance(value, int | float), "a grey picture has one number a pixel"
    return value


if __name__ == "__main__":
    sys.exit(main())
