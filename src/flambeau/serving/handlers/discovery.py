"""Find a handler: a file of the archive or one of ours, and in it a function or a class.

The rules are TorchServe's (``module:function``, ``handle``, else a class), but for two classes: classes without ``handle`` don't count.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

BUILT_IN = {
    "base_handler": ("base", "BaseHandler"),
    "base_deepspeed_handler": ("defaults.elsewhere", "BaseDeepSpeedHandler"),
    "base_pippy_handler": ("defaults.elsewhere", "BasePippyHandler"),
    "dali_handler": ("defaults.elsewhere", "DALIHandler"),
    "dali_image_classifier": ("defaults.elsewhere", "DALIImageClassifier"),
    "densenet_handler": ("defaults.densenet", "DenseNetHandler"),
    "huggingface_model": ("defaults.huggingface", "HuggingFaceHandler"),
    "image_classifier": ("defaults.image_classifier", "ImageClassifier"),
    "image_segmenter": ("defaults.image_segmenter", "ImageSegmenter"),
    "lightgbm_model": ("defaults.tables", "LightGBMHandler"),
    "object_detector": ("defaults.object_detector", "ObjectDetector"),
    "onnx_model": ("defaults.onnx_model", "OnnxHandler"),
    "sklearn_model": ("defaults.tables", "SklearnHandler"),
    "text_classifier": ("defaults.text_classifier", "TextClassifier"),
    "text_handler": ("defaults.text", "TextHandler"),
    "torch_model": ("defaults.torch_model", "TorchHandler"),
    "trt_llm_handler": ("defaults.elsewhere", "TRTLLMHandler"),
    "vision_handler": ("defaults.vision", "VisionHandler"),
    "vllm_handler": ("defaults.elsewhere", "VLLMHandler"),
    "xgboost_model": ("defaults.tables", "XGBoostHandler"),
}
"""Handlers that need no file in the archive, by the names that manifests use: our module and class."""


def import_handler(handler: str, directory: Path) -> ModuleType:
    """Import the module that a handler string names.

    Args:
        handler: ``mnist_handler.py``, ``mnist_handler``, ``mnist_handler:entry``, a built-in's name, or an installed module's.
        directory: where the archive was unpacked; its files win over built-ins, and these over installed modules.

    Raises:
        FileNotFoundError: nothing has that name.
        Exception: whatever the user's module raises.
    """
    name = module_name_of(handler)
    path = directory / f"{name}.py"
    if path.is_file():
        return import_file(path)
    if (directory / name / "__init__.py").is_file():
        return import_file(directory / name / "__init__.py", name)
    if name in BUILT_IN:
        return importlib.import_module(f"{__package__}.{BUILT_IN[name][0]}")
    if _is_installed(name):
        return importlib.import_module(name)
    raise FileNotFoundError(f"no {path.name} in the archive, and the built-in handlers are {', '.join(sorted(BUILT_IN))}")


def module_name_of(handler: str) -> str:
    """Return the module's name in a handler string, without folder, ending and function."""
    return Path(handler.split(":", 1)[0]).name.removesuffix(".py").removeprefix("ts.torch_handler.")


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a parent that is no package, or a name that is none
        return False


def import_file(path: Path, name: str | None = None) -> ModuleType:
    """Import one Python file under its own name, even where a module of that name was imported from elsewhere.

    Args:
        path: the file.
        name: another name; a package's, of its ``__init__.py``.
    """
    name = name or path.stem
    if name in sys.stdlib_module_names:
        # A handler called `token.py` must not take the place of the module that others rely on.
        name = f"{name}_of_model"
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, f"{path} is a .py file"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def list_classes_from_module(module: ModuleType, parent_class: type | None = None) -> list[type]:
    """Return the classes that a module defines itself; imported ones don't count.

    Args:
        module: where to look.
        parent_class: only its subclasses, or None for all.
    """
    own = [value for _, value in inspect.getmembers(module, inspect.isclass) if value.__module__ == module.__name__]
    return [found for found in own if parent_class is None or issubclass(found, parent_class)]


def function_of(module: ModuleType, handler: str) -> Any:
    """Return the module's entry function (``handle`` unless the handler string names another), or None if it has none."""
    _, _, name = handler.partition(":")
    entry = getattr(module, name or "handle", None)
    return entry if callable(entry) and not inspect.isclass(entry) else None


def class_of(module: ModuleType, handler: str) -> type:
    """Return the one class with a ``handle`` method that a module defines; of a built-in module, the one that the handler string names.

    Args:
        module: where to look.
        handler: the handler string, for the error.

    Raises:
        TypeError: there is none, or more than one; the text names them.
    """
    built_in = BUILT_IN.get(module_name_of(handler))
    if built_in is not None and module.__name__ == f"{__package__}.{built_in[0]}":
        found: type = getattr(module, built_in[1])
        return found
    classes = list_classes_from_module(module)
    handlers = [found for found in classes if callable(getattr(found, "handle", None))]
    if len(handlers) == 1:
        return handlers[0]
    file = Path(module.__file__ or module.__name__).name
    if handlers:
        names = ", ".join(found.__name__ for found in handlers)
        raise TypeError(f"{file} must define exactly one handler class; it defines {names}")
    if classes:
        names = ", ".join(found.__name__ for found in classes)
        raise TypeError(f"{file} defines {names}, but no class with a handle(data, context) method")
    name = handler.partition(":")[2] or "handle"
    raise TypeError(f"{file} defines neither a handler class nor a function {name}(data, context)")


def import_class(class_name: str, module_prefix: str | None = None) -> type:
    """Import a class by its dotted name.

    Args:
        class_name: ``package.module.Class``, or ``Class`` with a prefix.
        module_prefix: the module that ``class_name`` is looked up in.

    Raises:
        ImportError: there is no such module or class.
    """
    module, _, name = (f"{module_prefix}.{class_name}" if module_prefix else class_name).rpartition(".")
    if not module:
        raise ImportError(f"{class_name} has no module: expected package.module.Class")
    found = getattr(importlib.import_module(module), name, None)
    if not inspect.isclass(found):
        raise ImportError(f"module {module} has no class {name}")
    return found
