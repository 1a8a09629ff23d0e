"""``flambeau bench``: how many requests a second a model answers, how fast, and where the time of a request goes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter

from flambeau.cli.target import HERE, Target
from flambeau.cli.wait import seconds_of
from flambeau.foundation.errors import InvalidInput, NotFound, NotReady
from flambeau.programs.bench.question import Question, bodies_of, checked_url, headers_of, model_of, path_of

CONNECTIONS_MAX = 1_024
SECONDS_MAX = 3_600.0
"""Of one load."""
LEVELS_MAX = 32
_KEYS_BYTES_MAX = 65_536
_MANAGEMENT_PORT = 8081


def bench(
    server: str,
    /,
    *,
    data: Annotated[list[Path], Parameter(negative="")],
    connections: str = "1,4,16,64",
    seconds: str = "5s",
    rate: str = "",
    content_type: str | None = None,
    header: Annotated[list[str] | None, Parameter(negative="")] = None,
    timeout: str = "30s",
    address: str | None = None,
    ca_cert: Path | None = None,
    key_file: Path | None = None,
    search: Annotated[bool, Parameter(negative="")] = False,
    batch_sizes: str = "1,2,4,8,16,32",
    workers: str = "",
    management: str | None = None,
    plot: Path | None = None,
    output: Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])] = "text",
    target: Target = HERE,
) -> int:
    """Measure a model: requests a second, latencies, failures, and the split of the time.

    Each load is warmed up, counted, and followed by a short one that asks where the time goes. Ctrl-C shows what there is.

    Parameters
    ----------
    server
        A model's URL, such as `bench http://127.0.0.1:8080/predictions/mnist`, or an InferenceService, such as `bench isvc/mnist`.
    data
        File with the body of a request, such as `--data zero.png`; several are sent in turn.
    connections
        How many requests are on their way at once, such as `--connections 1,8,64`.
    seconds
        How long each load counts, such as `--seconds 10s`.
    rate
        Requests a second by a fixed schedule, whatever the answers do, such as `--rate 200,400`; latency then counts from when one was due.
    content_type
        The requests' content type, such as `--content-type image/png`; by default what the file is.
    header
        A header of each request, such as `--header "X-Tenant: a"`.
    timeout
        An answer that takes longer has failed, such as `--timeout 5s`.
    address
        Where to connect, when the URL's host leads elsewhere, such as `--address 127.0.0.1:8000`.
    ca_cert
        Certificate to trust, for https, such as `--ca-cert ca.pem`.
    key_file
        The server's keys, where it wants them, such as `--key-file key_file.json`.
    search
        Try batch sizes, then numbers of workers, on a copy of the model that is registered for it, such as `--search`.
    batch_sizes
        Which, such as `--batch-sizes 1,8,32`; none that is more than the most connections can fill.
    workers
        Which, such as `--workers 1,2,4`; by default up to the number of cores here.
    management
        The server's management API, such as `--management http://127.0.0.1:8081`.
    plot
        Draw a picture, such as `--plot bench.svg`, or a page, such as `--plot bench.html`.
    output
        `text` for people, `json` for scripts, such as `--output json`.
    """
    from flambeau.programs.bench import run as running  # noqa: PLC0415 - with a loop and a client, only when something is measured
    from flambeau.programs.bench.report import as_data, as_text  # noqa: PLC0415 - as above

    if plot is not None and plot.suffix not in (".svg", ".html"):
        raise InvalidInput(f"cannot draw {plot}: neither .svg nor .html", hint="such as --plot bench.svg")
    bodies = bodies_of(data, content_type)
    url = checked_url(server) if "://" in server else _url_of_service(server, path_of(server.rpartition("/")[2], bodies[0].form), target)
    keys = _keys(key_file) if key_file is not None else {}
    question = Question(url, bodies, _headers(header or [], keys), _address(address) if address else None)
    loads = tuple(_numbers("connections", connections, CONNECTIONS_MAX))
    plan = running.Plan(
        question,
        loads,
        tuple(_rates(rate)),
        _bounded("seconds", seconds),
        _bounded("timeout", timeout),
        str(ca_cert) if ca_cert is not None else None,
        _wish(question, management, batch_sizes, workers, keys, max(loads)) if search else None,
    )
    measured = running.run(plan, lambda line: print(line, file=sys.stderr, flush=True))
    text = as_text(measured, chart=sys.stdout.isatty())
    if plot is not None and measured.levels:
        from flambeau.programs.bench.plot import as_page, as_svg  # noqa: PLC0415 - only where one is drawn

        plot.write_text(as_svg(measured) if plot.suffix == ".svg" else as_page(measured, text), encoding="utf-8")
    print(json.dumps(as_data(measured), indent=2) if output == "json" else text)
    return 130 if measured.interrupted else 0


def _url_of_service(service: str, path: str, target: Target) -> str:
    kind_name, _, name = service.rpartition("/")
    with target.open() as api:
        kind = api.type_named(kind_name or "inferenceservices")
        if kind.kind != "InferenceService":
            raise InvalidInput(f"{kind.plural} are not measured, InferenceServices are", hint="or give the URL of what you want to measure")
        obj: dict[str, Any] = api.get(kind.path(api.namespace, name))
    url = (obj.get("status") or {}).get("url")
    if not url:
        raise NotReady(f"isvc/{name} has no URL yet", hint=f"`flambeau wait isvc/{name}` says what is missing")
    return str(url).rstrip("/") + path


def _wish(question: Question, management: str | None, batch_sizes: str, workers: str, keys: dict[str, str], most: int) -> Any:
    from flambeau.programs.bench.search import SETTINGS_MAX, Wish  # noqa: PLC0415 - with an HTTP client, only for a search

    model = model_of(question.url)
    if model is None:
        raise InvalidInput(f"cannot search: {question.url} does not name a model", hint="such as http://127.0.0.1:8080/predictions/mnist")
    where = checked_url(management) if management else f"http://{question.place[0]}:{_MANAGEMENT_PORT}"
    counts = workers or ",".join(str(count) for count in range(1, (os.cpu_count() or 1) + 1))
    sizes = [size for size in _numbers("batch-sizes", batch_sizes, 1 << 16) if size <= most]
    wish = Wish(where, model, tuple(sizes), tuple(_numbers("workers", counts, 4_096)), keys.get("management"))
    if len(wish.batch_sizes) + len(wish.workers) > SETTINGS_MAX:
        raise InvalidInput(f"more than {SETTINGS_MAX} batch sizes and workers together", hint="name those that matter to you")
    return wish


def _headers(texts: list[str], keys: dict[str, str]) -> tuple[tuple[str, str], ...]:
    headers = headers_of(texts)
    if "inference" in keys and not any(name.lower() == "authorization" for name, _ in headers):
        headers = (*headers, ("Authorization", f"Bearer {keys['inference']}"))
    return headers


def _keys(path: Path) -> dict[str, str]:
    """Return the keys of a ``key_file.json`` by what they are for."""
    try:
        with path.expanduser().open("rb") as file:
            told = json.loads(file.read(_KEYS_BYTES_MAX))
        return {name: str(each["key"]) for name, each in told.items() if isinstance(each, dict) and "key" in each}
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, AttributeError) as error:
        raise InvalidInput(f"{path} is no file of keys", hint="the server writes key_file.json into its working directory") from error


def _numbers(what: str, text: str, most: int) -> list[int]:
    parts = text.split(",")
    if len(parts) > LEVELS_MAX or not all(part.strip().isdigit() and 1 <= int(part) <= most for part in parts):
        raise InvalidInput(f"--{what} {text!r}: numbers from 1 to {most}, at most {LEVELS_MAX} of them", hint=f"such as --{what} 1,8")
    return [int(part) for part in parts]


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        rates = [0.0]
    if len(rates) > LEVELS_MAX or not all(0 < rate <= 1e6 for rate in rates):
        raise InvalidInput(f"--rate {text!r}: requests a second, up to a million", hint="such as --rate 200 or --rate 200,400")
    return rates


def _bounded(what: str, text: str) -> float:
    found = seconds_of(text)
    if not 0 < found <= SECONDS_MAX:
        raise InvalidInput(f"--{what} {text}: from above 0 to {SECONDS_MAX:g} seconds")
    return found


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise InvalidInput(f"--address {text!r} is no host and port", hint="such as --address 127.0.0.1:8000")
    return host, port
