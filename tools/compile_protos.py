"""Compile the model server's .proto files into the one descriptor set that it ships.

Run by ``make protos`` after a .proto changed; needs grpcio-tools, which only developers install. ``--check`` says whether the shipped set
is what the files compile to, and changes nothing.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parents[1] / "src/flambeau/serving/protocol/protos"
SHIPPED = PROTOS / "services.protoset"


def compiled() -> bytes:
    """Return the descriptor set of every .proto and what it imports, without comments.

    Raises:
        SystemExit: a file is not valid; protoc has said where.
    """
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "set"
        arguments = ["protoc", f"-I{PROTOS}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={target}", *sources]
        if protoc.main(arguments) != 0:
            raise SystemExit("cannot compile the protos")
        return target.read_bytes()


def main() -> int:
    """Compile, or check; return the exit status."""
    found = compiled()
    if "--check" in sys.argv[1:]:
        if SHIPPED.read_bytes() == found:
            return 0
        print(f"{SHIPPED.name} is not what the .proto files compile to: run make protos", file=sys.stderr)
        return 1
    SHIPPED.write_bytes(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
