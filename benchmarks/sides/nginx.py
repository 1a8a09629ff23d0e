"""nginx as a reverse proxy: what our gateway is compared with."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.sides.side import START_SECONDS_MAX, free_ports, listens, run, stop

NGINX = Path("/usr/sbin/nginx")
CONFIGURATION = """\
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
{user}
events {{ worker_connections 1024; }}
http {{
  access_log access.log;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  client_max_body_size 0;
  keepalive_requests 100000000;
  upstream replica {{ server 127.0.0.1:{behind}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://replica;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
      proxy_buffering off;
    }}
  }}
}}
"""
"""Bodies are streamed, as our gateway does it, and there is an access log, as ours has one."""


@contextlib.contextmanager
def nginx_before(behind: int) -> Iterator[int]:
    """Proxy to a port until the block ends; yield nginx's own port.

    Raises:
        RuntimeError: it did not start; the text has its error log.
    """
    with tempfile.TemporaryDirectory(prefix="fb-") as name:
        folder = Path(name)
        [port] = free_ports(1)
        user = "user root;" if os.getuid() == 0 else ""
        (folder / "nginx.conf").write_text(CONFIGURATION.format(port=port, behind=behind, user=user))
        process = run([NGINX, "-p", folder, "-c", "nginx.conf", "-e", "error.log"], folder)
        try:
            began = time.monotonic()
            while not listens(port):
                if process.poll() is not None or time.monotonic() - began > START_SECONDS_MAX:
                    raise RuntimeError(f"nginx did not start:\n{(folder / 'output.txt').read_text(errors='replace')}")
                time.sleep(0.01)
            yield port
        finally:
            stop(process)
