"""Say in one sentence what a user's exception means, where it came from and what to do about it.

Pure text work on exceptions; used when a handler fails to load and when it fails a request.
"""

from __future__ import annotations

import traceback
from pathlib import Path

CAUSE_CHARS_MAX = 400
"""The most characters of an exception's text that go to a client or a status."""
_IN_TORCHSCRIPT = "operation failed in the TorchScript interpreter"
TRACEBACK_CHARS_MAX = 16_000
"""The most characters of a traceback that go to the log; its end is the part that matters."""

_DISTRIBUTIONS = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "torch": '"flambeau[torch]"',
    "torchvision": '"flambeau[vision]"',
    "captum": '"flambeau[explain]"',
    "onnxruntime": '"flambeau[onnx]"',
}
"""What to install for a module whose package has another name."""

_TORCHVISION_MISMATCH = ("torchvision::", "partially initialized module 'torchvision'", "torchvision/_C.so", "torchvision/image.so")
"""What an import of torchvision fails with when it was built for another torch."""


def cause_of(error: BaseException) -> str:
    """Return an exception's type and text on one line, shortened."""
    whole = str(error).strip()
    if _IN_TORCHSCRIPT in whole:  # a traceback through the archive's code, of which the last line is the error
        return f"{whole.splitlines()[-1][:CAUSE_CHARS_MAX]} (in TorchScript)"
    text = " ".join(whole.split())
    if len(text) > CAUSE_CHARS_MAX:
        text = text[:CAUSE_CHARS_MAX] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place_of(error: BaseException, directory: Path) -> str | None:
    """Return ``file.py:17`` of the innermost frame in the archive's own code, or None where none of it took part."""
    found = None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).is_relative_to(directory):
            found = f"{Path(frame.filename).relative_to(directory)}:{frame.lineno}"
    return found


def traceback_of(error: BaseException) -> str:
    """Return the end of an exception's traceback."""
    return "".join(traceback.format_exception(error))[-TRACEBACK_CHARS_MAX:]


def load_hint_of(error: BaseException) -> str | None:
    """Return what a person can do about a failed load, where the exception tells."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing_module_hint(error.name)
    if isinstance(error, ImportError) and error.name and error.name.split(".")[0] == "ts":
        return f"flambeau's ts.* does not offer this name yet ({error.name})"
    if "Weights only load failed" in text:
        return (
            "the file holds more than tensors: save model.state_dict() instead (of a vocabulary a plain dict), or, if you trust the"
            " archive, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 in the server's environment"
        )
    if any(sign in text for sign in _TORCHVISION_MISMATCH):
        return "the installed torchvision does not match the installed torch: install both from one index in one command"
    if "state_dict for" in text:
        return "the saved weights are not of the class in the model file: compare their layer names"
    if "constants.pkl" in text or "PytorchStreamReader" in text:
        return "the serialized file is no TorchScript: pass the class with --model-file, or save it with torch.jit.script(model).save(...)"
    if "No model weights could be loaded" in text:
        return "archive the model with --model-file (a state dict) or as TorchScript (.pt)"
    return None


def package_of(module: str) -> str:
    """Return what to install for a top-level module."""
    return _DISTRIBUTIONS.get(module, module)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory, of the host or the GPU, ran out; TorchServe counts every CUDA error as that."""
    return isinstance(error, MemoryError) or "CUDA" in str(error)


def _missing_module_hint(module: str) -> str:
    top = module.partition(".")[0]
    if top == "ts":
        return f"flambeau's ts.* does not offer {module} yet"
    package = package_of(top)
    if top == "torch":
        return f"install it where the server runs: pip install {package}, or uv pip install torch --torch-backend=auto"
    return (
        f"install it where the server runs: pip install {package}; or archive a requirements.txt that names it"
        " (torch-model-archiver --requirements-file) and set install_py_dep_per_model=true"
    )
