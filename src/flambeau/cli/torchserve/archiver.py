"""``torch-model-archiver``: the original's flags, abbreviations and exit statuses.

0 on success, 2 for a command line that argparse refuses, 1 for everything else, with one sentence instead of a traceback.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from flambeau.foundation.errors import FlambeauError
from flambeau.serving.archive.model_archiver import parse_arguments
from flambeau.serving.archive.pack import pack


def main(arguments: Sequence[str] | None = None) -> int:
    """Make an archive as the command line says, and return the exit status."""
    request = parse_arguments(arguments).request()
    logging.basicConfig(format="%(levelname)s - %(message)s", level=logging.WARNING)
    try:
        pack(request)
    except (FlambeauError, OSError) as error:
        print(f"ERROR - {error}", file=sys.stderr)
        return 1
    return 0
