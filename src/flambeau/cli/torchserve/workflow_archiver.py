"""``torch-workflow-archiver``: the original's flags, abbreviations and exit statuses.

0 on success, 2 for a command line that argparse refuses, 1 for everything else, with one sentence instead of a traceback. ``--handler`` is
required and says so: the original declared it optional and crashed without it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from flambeau.foundation.errors import FlambeauError
from flambeau.serving.archive.workflow import WorkflowArchiveRequest, pack_workflow


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a workflow archive as the command line says, and return the exit status."""
    options = parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s - %(message)s", level=logging.WARNING)
    try:
        pack_workflow(
            WorkflowArchiveRequest(
                workflow_name=options.workflow_name,
                spec_file=options.spec_file,
                handler=options.handler,
                extra_files=tuple(Path(item.strip()) for item in options.extra_files.split(",") if item.strip()),
                export_path=options.export_path,
                force=options.force,
            )
        )
    except (FlambeauError, OSError) as error:
        print(f"ERROR - {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the archiver's flags; each one's help shows how it is written."""
    made = argparse.ArgumentParser(
        prog="torch-workflow-archiver",
        description="Package a workflow's spec and functions as an archive.",
        epilog="Example: torch-workflow-archiver --workflow-name dogs --spec-file workflow.yaml --handler functions.py",
    )
    required = made.add_argument_group("required arguments")
    required.add_argument(
        "--workflow-name", required=True, help="name of the workflow, and of the archive's file, such as --workflow-name dogs"
    )
    required.add_argument(
        "--spec-file", required=True, type=Path, help="YAML with the workflow's models and their graph, such as --spec-file workflow.yaml"
    )
    required.add_argument(
        "--handler", required=True, type=Path, help="Python file whose functions are nodes of the graph, such as --handler functions.py"
    )
    made.add_argument(
        "--export-path", type=Path, default=Path(), help="folder to write to, else the current one, such as --export-path workflow-store"
    )
    made.add_argument("-f", "--force", action="store_true", help="overwrite an archive of that name, such as --force")
    made.add_argument(
        "--extra-files", default="", help="comma-separated files that the functions need, such as --extra-files names.json,b.txt"
    )
    return made
