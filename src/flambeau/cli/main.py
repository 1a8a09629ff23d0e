"""The ``flambeau`` command: one file per word, imported only when the word is typed."""

from __future__ import annotations

import sys

import flambeau


def main() -> None:
    """Run the command line and end the process with its status."""
    if sys.argv[1:] == ["--version"]:
        print(flambeau.__version__)  # without the half of a second that the rest takes on a slow machine
        return
    import cyclopts  # noqa: PLC0415 - as above

    app = cyclopts.App(
        name="flambeau",
        help="Serve PyTorch models the KServe way, from a laptop to a cluster.",
        version=flambeau.__version__,
    )
    app.command("flambeau.cli.serve:serve", name="serve", help="Run the model server in the foreground.")
    sys.exit(app())
