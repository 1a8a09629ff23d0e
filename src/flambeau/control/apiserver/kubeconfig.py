"""The file that kubectl, the kserve SDK and ``flambeau`` read to find the API server."""

from __future__ import annotations

import base64
from pathlib import Path

import orjson

from flambeau.foundation.files import write_atomically

CONTEXT = "flambeau"


def write(path: Path, *, server: str, authority: bytes, token: str) -> None:
    """Write a kubeconfig with one context, 0600, in one step.

    Args:
        path: the file; its folder must exist.
        server: ``https://127.0.0.1:7443``.
        authority: the CA's certificate in PEM.
        token: the bearer token.

    Raises:
        OSError: the disk refused.
    """
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "preferences": {},
        "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": base64.b64encode(authority).decode()}}],
        "users": [{"name": CONTEXT, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}],
    }
    # JSON is YAML; every reader of kubeconfigs takes it, and nothing needs quoting.
    write_atomically(path, orjson.dumps(config, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), mode=0o600)
