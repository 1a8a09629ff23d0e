"""No server at all: import the image handler, load an archive's model, run it once. Arguments: archive, file of the body."""

import sys
import tempfile
from pathlib import Path

from flambeau.programs.settings.models import config_merger
from flambeau.serving.archive.unpack import unpack
from flambeau.serving.handlers.service import load_service
from flambeau.serving.model import ModelConfig
from flambeau.serving.repository import Registration, spec_of

archive, body = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
with tempfile.TemporaryDirectory() as folder:
    unpacked = unpack(archive, Path(folder))
    service = load_service(spec_of(Registration(archive, archive.name, config_merger(ModelConfig(), {}, None)), unpacked, None))
    [outcome] = service.predict([{"body": body}], [[]], ["1"])
    assert outcome.status == 200, outcome
