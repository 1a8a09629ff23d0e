"""Names of TorchServe's that need a package which we don't bring: they import, and say what is missing when they are used."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from pathlib import Path
from typing import Any, ClassVar

from flambeau.serving.handlers.context import Context


def missing(name: str, package: str, module: str, advice: str) -> ImportError:
    """Return the error of a name that can't do its work.

    Args:
        name: what was used.
        package: what to install.
        module: how it is imported.
        advice: what to do where it is installed.
    """
    if not _is_installed(module):
        return ImportError(f"{name} needs {package}, which is not installed: pip install {package}", name=module)
    return ImportError(f"{name} is not part of flambeau, though {package} is installed: {advice}", name=module)


class _Elsewhere:
    """A handler of TorchServe's that hosts another engine."""

    package: ClassVar[str]
    module: ClassVar[str]
    advice: ClassVar[str]

    def initialize(self, context: Context) -> None:
        """Refuse to load.

        Raises:
            ImportError: always; it names what is missing.
        """
        raise missing(type(self).__name__, self.package, self.module, self.advice)

    def handle(self, data: Any, context: Context) -> list[Any]:
        """Refuse to answer, as ``initialize`` refuses to load."""
        raise missing(type(self).__name__, self.package, self.module, self.advice)


class VLLMHandler(_Elsewhere):
    """Host vLLM."""

    package, module = "vllm", "vllm"
    advice = "write a handler with asyncCommunication that calls vllm.AsyncLLMEngine, or run vllm serve beside it"


class TRTLLMHandler(_Elsewhere):
    """Host TensorRT-LLM."""

    package, module = "tensorrt_llm", "tensorrt_llm"
    advice = "write a handler with asyncCommunication that calls tensorrt_llm.LLM"


class DALIHandler(_Elsewhere):
    """Prepare pictures with NVIDIA DALI."""

    package, module = "nvidia-dali-cuda120", "nvidia.dali"
    advice = "call the pipeline in the preprocess of an ImageClassifier"


class DALIImageClassifier(DALIHandler):
    """Classify pictures that DALI prepared."""


class BasePippyHandler(_Elsewhere):
    """Split a model over GPUs with PiPPy."""

    package, module = "torchpippy", "pippy"
    advice = "its project has ended: split the model with torch.distributed.pipelining"


class BaseDeepSpeedHandler:
    """Know which of a group's devices is this process's own; subclasses load the model with ``get_ds_engine``."""

    def __init__(self) -> None:
        self.device: Any = None
        self.initialized = False

    def initialize(self, ctx: Context) -> None:
        """Take the device of this process's place in its group."""
        self.device = int(os.environ.get("LOCAL_RANK", "0"))


def get_ds_engine(model: Any, ctx: Context) -> Any:
    """Return DeepSpeed's engine of a model, as model-config.yaml's sections ``deepspeed`` and ``handler`` describe it.

    Raises:
        ImportError: DeepSpeed is not installed.
        ValueError: there is no section ``deepspeed``, or the file that it names as ``config`` is not in the archive.
    """
    section = ctx.model_yaml_config.get("deepspeed")
    if section is None:
        raise ValueError(f"model {ctx.model_name} has no section deepspeed in its model-config.yaml")
    directory = Path(ctx.system_properties["model_dir"])
    config = directory / section["config"] if "config" in section else None
    if config is not None and not config.is_file():
        raise ValueError(f"model {ctx.model_name}: the deepspeed config {section['config']} is not in the archive")
    if not _is_installed("deepspeed"):
        raise missing("get_ds_engine", "deepspeed", "deepspeed", "")
    deepspeed = importlib.import_module("deepspeed")
    weights = ctx.model_yaml_config["handler"]["model_path"]
    checkpoint = str(directory / section["checkpoint"]) if "checkpoint" in section else None
    if checkpoint is not None:
        create_checkpoints_json(weights, checkpoint)
    return deepspeed.init_inference(model, config=str(config) if config else None, base_dir=weights, checkpoint=checkpoint)


def create_checkpoints_json(model_path: str, checkpoints_json: str) -> None:
    """List a model's files of weights in the form that DeepSpeed reads.

    Args:
        model_path: the folder with ``.bin`` files.
        checkpoints_json: the file to write.
    """
    files = sorted(str(path.relative_to(model_path)) for path in Path(model_path).rglob("*.bin"))
    Path(checkpoints_json).write_text(json.dumps({"type": "ds_model", "checkpoints": files, "version": 1.0}))


pippy_installed = False
"""Handlers ask before they call the next two."""


def initialize_rpc_workers(local_rank: int, world_size: int, ctx: Context) -> None:
    """Refuse: PiPPy's workers can't be had.

    Raises:
        ImportError: always.
    """
    raise missing("initialize_rpc_workers", BasePippyHandler.package, BasePippyHandler.module, BasePippyHandler.advice)


def get_pipeline_driver(model: Any, world_size: int, ctx: Context) -> Any:
    """Refuse: PiPPy's driver can't be had.

    Raises:
        ImportError: always.
    """
    raise missing("get_pipeline_driver", BasePippyHandler.package, BasePippyHandler.module, BasePippyHandler.advice)


def get_dali_pipeline(ctx: Context) -> Any:
    """Refuse: DALI's pipelines can't be had.

    Raises:
        ImportError: always.
    """
    raise missing("get_dali_pipeline", DALIHandler.package, DALIHandler.module, DALIHandler.advice)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in is not there either
        return False
