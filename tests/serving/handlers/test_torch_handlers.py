from __future__ import annotations

import base64
import builtins
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.handlers.service import Outcome, Service
from flambeau.serving.protocol.v2_array import InputArray

# TorchScript archives are supported for as long as torch loads them.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x.flatten(1))
"""
SMALL_PICTURES = """
import torch
from ts.torch_handler.image_classifier import ImageClassifier

class Small(ImageClassifier):
    topk = 2

    def image_processing(self, picture):
        return torch.tensor(list(picture.convert("L").tobytes())).float().reshape(1, 2, 2) / 255
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A state dict that prefers class 2, then 1, whatever the input."""
    torch.save({"fc.weight": torch.zeros(3, 4), "fc.bias": torch.tensor([0.0, 1.0, 2.0])}, tmp_path / "w.pt")
    return tmp_path / "w.pt"


def picture(size: tuple[int, int] = (2, 2)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, 200).save(buffer, "PNG")
    return buffer.getvalue()


PICKLED = {"modelFile": "net.py", "serializedFile": "w.pt"}


def test_the_base_handler_answers_numbers(load: Load, ask: Ask, weights: Path) -> None:
    service = load({"net.py": NET}, "base_handler", model=PICKLED)
    assert [outcome.value for outcome in ask(service, [[1.0, 0.0, 0.0, 0.0]] * 2)] == [[0.0, 1.0, 2.0]] * 2


def test_torchscript_needs_no_model_file(load: Load, ask: Ask, tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Identity(), torch.zeros(1, 2)).save(str(tmp_path / "w.pt"))
    service = load({}, "base_handler", model={"serializedFile": "w.pt"})
    assert ask(service, [[1.0, 2.0]])[0].value == [1.0, 2.0]


@pytest.mark.parametrize("key", ["data", "body"])
@pytest.mark.parametrize("form", [bytes, bytearray, lambda content: base64.b64encode(content).decode()])
def test_pictures_come_as_bytes_or_base64(load: Load, ask: Ask, weights: Path, key: str, form: Callable[[bytes], Any]) -> None:
    service = load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED)
    value = ask(service, [{key: form(picture())}])[0].value
    assert isinstance(value, dict)
    assert list(value) == ["2", "1"]
    assert value["2"] == pytest.approx(0.6652, abs=1e-4)


def test_pictures_come_as_numbers_too(load: Load, ask: Ask, weights: Path) -> None:
    service = load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED)
    assert ask(service, [{"data": [[[0.1, 0.2], [0.3, 0.4]]]}])[0].status == 200


def test_classes_get_their_names(load: Load, ask: Ask, weights: Path) -> None:
    files = {"net.py": NET, "h.py": SMALL_PICTURES, "index_to_name.json": '{"2": "zebra"}'}
    value = ask(load(files, "h.py", model=PICKLED), [{"data": picture()}])[0].value
    assert isinstance(value, dict)
    assert list(value) == ["zebra", "1"]


def test_the_built_in_classifier_has_imagenets_transform(load: Load, ask: Ask, weights: Path) -> None:
    net = NET.replace("x.flatten(1)", "x[:, 0, :2, :2].flatten(1)")
    service = load({"net.py": net}, "image_classifier", model=PICKLED)
    rgb = io.BytesIO()
    Image.new("RGB", (300, 280), "red").save(rgb, "JPEG")
    assert list(ask(service, [{"body": rgb.getvalue()}])[0].value) == ["2", "1", "0"]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "no picture: expected one under the key data or body, found the keys none"),
        ({"image": "x"}, "no picture: expected one under the key data or body, found the keys image"),
        ({"body": b""}, "the picture is empty"),
        ({"data": None}, "the picture is empty"),
        ("text", "a row must be an object with a picture under data or body, not text"),
        ([1, 2], "a row must be an object with a picture under data or body, not a list"),
        ({"data": "abc"}, "the picture is text but not base64"),
        ({"data": "aGVsbG8sIHdvcmxk"}, "not a picture that Pillow knows: 12 bytes beginning with b'hello, w'"),
        ({"body": picture()[:45]}, "the picture can't be decoded"),
        ({"data": [[1, 2], [3]]}, "the picture's numbers don't form an array"),
        ({"data": ["a"]}, "the picture's numbers don't form an array"),
        ({"data": 7}, "the picture must be bytes, base64 text or lists of numbers, not a number"),
    ],
)
def test_a_bad_picture_fails_alone_with_400(load: Load, ask: Ask, weights: Path, row: Any, message: str) -> None:
    service = load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED)
    outcomes = ask(service, [{"data": picture()}, row, {"data": picture()}])
    assert [outcome.status for outcome in outcomes] == [200, 400, 200]
    assert outcomes[1].error is not None
    assert outcomes[1].error.startswith(message)


def test_an_array_is_as_good_as_lists(load: Load, ask: Ask, weights: Path) -> None:
    service = load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED)
    numbers = numpy.full((1, 2, 2), 3, "uint8")
    array = numpy.frombuffer(bytearray(numbers.tobytes()), "uint8").reshape(1, 2, 2).view(InputArray)
    lists, arrays = ask(service, [{"data": numbers.tolist()}, {"data": array}])
    assert (arrays.status, arrays.value) == (200, lists.value)


def test_pictures_of_several_sizes_are_separate_batches(load: Load, ask: Ask, weights: Path) -> None:
    service = load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED)
    outcomes = ask(service, [{"data": picture()}, {"data": [[[1.0]]]}, {"data": picture()}])
    assert [outcome.status for outcome in outcomes] == [200, 503, 200]
    assert "cannot be multiplied" in (outcomes[1].error or "")


def test_a_transform_that_fails_concerns_its_picture(load: Load, ask: Ask, weights: Path) -> None:
    service = load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED)
    outcomes = ask(service, [{"data": picture((3, 3))}, {"data": picture()}])
    assert [outcome.status for outcome in outcomes] == [503, 200]
    assert "at h.py:9" in (outcomes[0].error or "")


def test_a_decompression_bomb_is_refused_unless_allowed(load: Load, ask: Ask, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    bomb = {"data": picture((5, 5))}
    service = load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED)
    assert ask(service, [bomb])[0].status == 413
    load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED, limit_max_image_pixels=False)
    assert Image.MAX_IMAGE_PIXELS is None


def test_explain_says_what_is_missing(load: Load, ask: Ask, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_captum(name: str, *rest: Any) -> Any:
        if name.startswith("captum"):
            raise ModuleNotFoundError("No module named 'captum'", name="captum")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_captum)
    service = load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED)
    outcome = ask(service, [{"data": picture()}], {"explain": "True"})[0]
    assert outcome.status == 501
    assert "pip install" in (outcome.error or "")


def test_explain_gives_the_subclass_row_and_target(load: Load, ask: Ask, weights: Path) -> None:
    insights = (
        SMALL_PICTURES + "\n    def get_insights(self, tensor, inputs, target=0):\n        return [[list(tensor.shape), inputs, target]]\n"
    )
    service = load({"net.py": NET, "h.py": insights}, "h.py", model=PICKLED)
    content = picture()
    assert ask(service, [{"data": content, "target": 2}], {"explain": "True"})[0].value == [[1, 1, 2, 2], content, 2]


def test_describe_answers_for_itself(load: Load, ask: Ask, weights: Path) -> None:
    described = SMALL_PICTURES + "\n    def describe_handle(self):\n        return {'kind': 'small'}\n"
    service = load({"net.py": NET, "h.py": described}, "h.py", model=PICKLED)
    assert ask(service, [{}], {"describe": "True"})[0].value == {"kind": "small"}


def test_timed_steps_are_measured_only_on_request(load: Load, ask: Ask, weights: Path) -> None:
    for yaml, names in (
        ({}, []),
        ({"handler": {"profile": True}}, ["ts_handler_preprocess", "ts_handler_inference", "ts_handler_postprocess"]),
    ):
        service = load({"net.py": NET, "h.py": SMALL_PICTURES}, "h.py", model=PICKLED, yaml=yaml)
        assert ask(service, [{"data": picture()}])[0].status == 200
        assert [update.name for update in service.take_updates()] == [*names, "HandlerTime"]


@pytest.mark.parametrize(
    ("model", "files", "message", "hint"),
    [
        ({}, {}, "No model weights could be loaded: no serialized file", "--model-file"),
        ({"serializedFile": "w.pth"}, {}, "w.pth, which is not in the archive", None),
        ({"modelFile": "gone.py"}, {}, "modelFile gone.py, which is not in the archive", None),
        (PICKLED, {"net.py": NET + "class Second: ...\n"}, "net.py must define exactly one class; it defines Net, Second", None),
        (PICKLED, {"net.py": NET.replace("fc", "other")}, "Error(s) in loading state_dict for Net", "compare their layer names"),
        ({"serializedFile": "w.pt"}, {}, "RuntimeError", "is no TorchScript"),
    ],
)
def test_what_a_model_lacks_is_told(
    load: Load, weights: Path, model: dict[str, str], files: dict[str, str], message: str, hint: str | None
) -> None:
    with pytest.raises(LoadError) as caught:
        load(files, "base_handler", model=model)
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_weights_that_are_code_are_refused_unless_allowed(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"fc.weight": torch.zeros(3, 4), "fc.bias": torch.zeros(3), "where": tmp_path}, tmp_path / "w.pt")
    with pytest.raises(LoadError) as caught:
        load({"net.py": NET}, "base_handler", model=PICKLED)
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1" in (caught.value.hint or "")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.warns(UserWarning, match="forcing weights_only=False"), pytest.raises(LoadError, match="Unexpected key"):
        load({"net.py": NET}, "base_handler", model=PICKLED)


@pytest.mark.parametrize(
    "error",
    [
        "RuntimeError('operator torchvision::nms does not exist')",
        "AttributeError(\"partially initialized module 'torchvision' has no attribute 'extension'\")",
        "OSError('/lib/torchvision/_C.so: undefined symbol: _ZN5torch')",
    ],
)
def test_a_torchvision_of_another_torch_is_told(load: Load, error: str) -> None:
    with pytest.raises(LoadError) as caught:
        load({"h.py": f"raise {error}\n"}, "h.py")
    assert "torchvision does not match the installed torch" in (caught.value.hint or "")
