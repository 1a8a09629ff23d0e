"""The options every API command shares: which server, which namespace."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flambeau.cli.api import Api
from flambeau.cli.kubeconfig import load_connection


@Parameter(name="*")
@dataclass(frozen=True)
class Target:
    """Where a command goes."""

    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None
    """Namespace, such as `-n torchserve`; the context's own when left out."""
    kubeconfig: Path | None = None
    """Kubeconfig file, such as `--kubeconfig ~/.flambeau/kubeconfig`; KUBECONFIG or the usual places when left out."""
    context: str | None = None
    """Context in the kubeconfig, such as `--context flambeau`; the current one when left out."""

    @contextmanager
    def open(self) -> Iterator[Api]:
        """Connect; the server's warnings go to standard error when the command ends."""
        connection = load_connection(kubeconfig=self.kubeconfig, context=self.context)
        with Api(connection) as api:
            api.namespace = self.namespace or api.namespace
            try:
                yield api
            finally:
                for warning in api.warnings:
                    print(f"Warning: {warning}", file=sys.stderr)


HERE = Target()
"""The default: the current context and its namespace."""
