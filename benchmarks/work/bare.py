"""No server at all: import the image handler, load an archive's model, run it once. Arguments: archive, file of the body."""

import sys
import tempfile
from pathlib import Path

from benchmarks.work.archive import load_archive

archive, body = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
with tempfile.TemporaryDirectory() as folder:
    [outcome] = load_archive(archive, Path(folder)).predict([{"body": body}], [[]], ["1"])
    assert outcome.status == 200, outcome
