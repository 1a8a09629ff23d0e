"""The ``flambeau`` command: one file per word, imported only when the word is typed."""

from __future__ import annotations

import sys

import flambeau
from flambeau.foundation.errors import FlambeauError

_COMMANDS = (
    # word, where it is, what it does; in the order of the help page
    ("up", "up:up", "Run the platform on this machine, in the foreground."),
    ("serve", "serve:serve", "Run the model server alone, in the foreground."),
    ("graph-router", "graph_router:graph_router", "Answer requests by an inference graph, in the foreground."),
    ("runtime", "runtime:runtime", "Serve a model file by its format, with the flags of KServe's servers."),
    ("archive", "archive:archive", "Package a model as a model archive (MAR)."),
    ("test-handler", "try_handler:try_handler", "Run a model's handler here, once, on one request."),
    ("bench", "bench:bench", "Measure how fast a model answers, and where the time goes."),
    ("doctor", "doctor:doctor", "Say what of a TorchServe set-up runs unchanged, and what to change."),
    ("storage", "storage:storage", "Look at where models are stored."),
    ("apply", "apply:apply", "Make objects be as files say."),
    ("create", "create:create", "Create objects that are not there yet."),
    ("get", "get:get", "Show objects."),
    ("describe", "describe:describe", "Show objects in full, with their events."),
    ("wait", "wait:wait", "Wait until something is so."),
    ("rollout", "rollout:rollout", "See how a change gets on, look back, go back."),
    ("logs", "logs:logs", "Show what a pod's programs wrote."),
    ("delete", "delete:delete", "Delete objects."),
    ("explain", "explain:explain", "Show which fields a kind has."),
    ("api-resources", "api_resources:api_resources", "List the kinds the server has."),
)

USAGE_STATUS = 2
"""How the process ends when the command line cannot be understood."""


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
        help_on_error=False,
    )
    for word, place, text in _COMMANDS:
        app.command(f"flambeau.cli.{place}", name=word, help=text)
    try:
        sys.exit(app(sys.argv[1:], print_error=False, exit_on_error=False))
    except cyclopts.CycloptsError as error:  # in one line, as pods show the last line of what ended badly
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_STATUS)
    except FlambeauError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away; Python would complain about it at exit
        sys.exit(141)
