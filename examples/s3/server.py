"""Serve S3 on this machine, for the demo and the tests: OpenStack Swift with its S3 API, in one process.

    python examples/s3/server.py --data DIR --port 9000 --access-key demo:demo --secret-key SECRET

Objects live below DIR and survive a restart or a kill. Signatures (V2 and V4) are checked. Everything listens on 127.0.0.1 only. It needs
Linux and a file system with extended attributes, where Swift keeps what it knows about an object.
"""

from __future__ import annotations

import os
import warnings

# Swift's services are green threads: eventlet has to replace the socket module before anything imports it. What it says about its own
# future (and about header names, which Swift asks for) is nothing that a person who starts this server can act on.
warnings.simplefilter("ignore")
# Names are never looked up here, and eventlet's resolver loads TLS before the replacing, which it then complains about.
os.environ["EVENTLET_NO_GREENDNS"] = "yes"
import eventlet  # noqa: E402

eventlet.monkey_patch()

import argparse  # noqa: E402
import base64  # noqa: E402
import ctypes  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import eventlet.wsgi  # noqa: E402
from swift.common import utils, wsgi  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402

HOST = "127.0.0.1"
BACKENDS = ("object", "container", "account")
PR_SET_PDEATHSIG = 1
SOCKET_SECONDS_MAX = 60

SWIFT_CONF = """\
[swift-hash]
swift_hash_path_prefix = flambeau
swift_hash_path_suffix = flambeau
[storage-policy:0]
name = single
default = yes
"""

SERVICE_CONF = """\
[DEFAULT]
swift_dir = {swift_dir}
devices = {devices}
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
workers = 0
log_level = ERROR
log_address = /nonexistent
[pipeline:main]
pipeline = {pipeline}
"""

# Swift's own waits are made for many machines: after half a second it gives a disk up, and writes down what another daemon shall do later.
# Here there is one disk and no other daemon, so a busy machine would lose an object from its listing. Hence longer waits.
WAITS = """\
conn_timeout = 30
node_timeout = 60
"""

BACKEND_CONF = """\
[app:{name}-server]
use = egg:swift#{name}
container_update_timeout = 60
"""

PROXY_CONF = """\
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = {region}
allow_multipart_uploads = true
check_bucket_owner = false
[filter:tempauth]
use = egg:swift#tempauth
user64_{account}_{user} = {secret_key} .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:copy]
use = egg:swift#copy
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
recoverable_node_timeout = 60
error_suppression_limit = 1000000
"""
PROXY_PIPELINE = "catch_errors listing_formats bulk s3api tempauth slo dlo copy proxy-server"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    data: Path
    port: int
    access_key: str
    secret_key: str
    region: str
    ready_file: Path | None
    die_with_parent: bool


def main() -> None:
    """Serve until SIGTERM."""
    options = parse_options()
    if options.die_with_parent:
        die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    # Every socket listens before a file names its port: no other process can take a port in between.
    backends = {name: eventlet.listen((HOST, 0)) for name in BACKENDS}
    try:
        proxy = eventlet.listen((HOST, options.port))
    except OSError as error:
        sys.exit(f"cannot listen on {HOST}:{options.port}: {error.strerror}")
    write_configuration(options, {name: listener.getsockname()[1] for name, listener in backends.items()})
    for name, listener in {**backends, "proxy": proxy}.items():
        application = wsgi.loadapp(str(options.data / f"{name}.conf"), global_conf={"log_name": name})
        eventlet.spawn(serve, listener, application)
    announce(options, f"http://{HOST}:{proxy.getsockname()[1]}")
    while True:
        eventlet.sleep(3600)


def parse_options() -> Options:
    """Read the command line; end the process with a sentence where it is wrong."""
    parser = argparse.ArgumentParser(description="S3 on this machine: OpenStack Swift in one process.")
    parser.add_argument("--data", type=Path, required=True, help="folder that keeps the objects")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--access-key", default="demo:demo", help="ACCOUNT:USER, what clients give as access key id")
    parser.add_argument("--secret-key", required=True, help="what clients give as secret access key")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--ready-file", type=Path, default=None, help="the address is written here once requests are answered")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the process that started this one ends")
    options = Options(**vars(parser.parse_args()))
    if options.access_key.count(":") != 1 or not all(options.access_key.split(":")):
        parser.error("--access-key must be ACCOUNT:USER")
    if not options.secret_key or any(character.isspace() or character == "%" for character in options.secret_key):
        parser.error("--secret-key must not be empty nor contain blanks or %")
    return options


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if parent == 1 or os.getppid() != parent:
        sys.exit("the parent process has ended already")


def write_configuration(options: Options, ports: dict[str, int]) -> None:
    """Write Swift's configuration files and its rings, which say where each service listens."""
    folder = options.data.resolve()
    devices = folder / "devices"
    (devices / "disk").mkdir(parents=True, exist_ok=True)
    (folder / "swift.conf").write_text(SWIFT_CONF)
    utils.set_swift_dir(str(folder))
    for name, port in ports.items():
        service = SERVICE_CONF.format(swift_dir=folder, devices=devices, pipeline=f"{name}-server")
        (folder / f"{name}.conf").write_text(service + BACKEND_CONF.format(name=name) + WAITS)
        write_ring(folder / f"{name}.ring.gz", port)
    account, user = (base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in options.access_key.split(":"))
    proxy = SERVICE_CONF.format(swift_dir=folder, devices=devices, pipeline=PROXY_PIPELINE)
    proxy += PROXY_CONF.format(region=options.region, account=account, user=user, secret_key=options.secret_key)
    proxy += WAITS
    path = folder / "proxy.conf"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(proxy)


def write_ring(path: Path, port: int) -> None:
    """Write a ring of one disk. It is the same each time but for the port, so objects are found again."""
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    address = {"ip": HOST, "port": port, "replication_ip": HOST, "replication_port": port}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "device": "disk", "weight": 1, "meta": "", **address})
    builder.rebalance()
    builder.get_ring().save(str(path))


def serve(listener: Any, application: Any) -> None:
    """Answer requests on one socket; the loop of one of Swift's services."""
    eventlet.wsgi.server(
        listener,
        application,
        protocol=wsgi.SwiftHttpProtocol,
        capitalize_response_headers=False,
        log_output=False,
        socket_timeout=SOCKET_SECONDS_MAX,
    )


def announce(options: Options, address: str) -> None:
    """Tell whoever waits that requests are answered."""
    if options.ready_file is not None:
        beside = options.ready_file.with_suffix(".tmp")
        beside.write_text(address)
        beside.replace(options.ready_file)
    print(f"S3 ready at {address}", flush=True)


if __name__ == "__main__":
    main()
