"""The ``flambeau`` command: one file per word, imported only when the word is typed."""

from __future__ import annotations

import sys

import cyclopts

import flambeau

app = cyclopts.App(
    name="flambeau",
    help="Serve PyTorch models the KServe way, from a laptop to a cluster.",
    version=flambeau.__version__,
)
app.command("flambeau.cli.serve:serve", name="serve", help="Run the model server in the foreground.")


def main() -> None:
    """Run the command line and end the process with its status."""
    sys.exit(app())
