"""Models without a handler, as files of each library: V1 rows, V2 tensors, batches, and what is wrong with the input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from platform import python_version
from typing import Any

import joblib
import lightgbm
import numpy
import onnx
import pandas
import pytest
import sklearn
import torch
import xgboost
from sklearn.linear_model import LogisticRegression

from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.handlers.service import Outcome, Service
from flambeau.serving.model import Signature, Tensors, TensorSignature

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]

FEATURES = numpy.array([[0.0, 1.0], [1.0, 0.0], [0.1, 0.9], [0.9, 0.2]])
CLASSES = numpy.array([0, 1, 0, 1])


class Scale(torch.nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
    def forward(self, x: Any, y: Any) -> Any:
        return x + y, x * 2


def sklearn_file(path: Path, features: Any = FEATURES) -> None:
    joblib.dump(LogisticRegression().fit(features, CLASSES), path)


def xgboost_file(path: Path) -> None:
    matrix = xgboost.DMatrix(FEATURES, CLASSES)
    xgboost.train({"objective": "binary:logistic", "min_child_weight": 0}, matrix, num_boost_round=3).save_model(path)


def lightgbm_file(path: Path) -> None:
    options = {"objective": "binary", "min_data_in_leaf": 1, "min_data_in_bin": 1, "verbose": -1}
    lightgbm.train(options, lightgbm.Dataset(FEATURES, CLASSES), num_boost_round=3).save_model(path)


def onnx_file(path: Path, batch: str | int = "batch") -> None:
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, 2]) for name in ("x", "y", "sum")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "y"], ["sum"])], "add", tensors[:2], tensors[2:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


def values(outcomes: list[Outcome]) -> list[Any]:
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.value for outcome in outcomes]


@pytest.mark.parametrize(
    ("write", "file", "handler"),
    [
        (sklearn_file, "model.joblib", "sklearn_model"),
        (xgboost_file, "model.json", "xgboost_model"),
        (xgboost_file, "model.ubj", "xgboost_model"),
        (lightgbm_file, "model.bst", "lightgbm_model"),
    ],
)
def test_tables_of_several_requests_are_answered_together(
    tmp_path: Path, load: Load, ask: Ask, write: Callable[[Path], None], file: str, handler: str
) -> None:
    write(tmp_path / file)
    service = load({}, handler, model={"serializedFile": file})
    low, high, tensors, body = values(ask(service, [[0.0, 1.0], [1.0, 0.0], Tensors({"x": FEATURES}), {"body": FEATURES[:2].tolist()}]))
    assert low < 0.5 < high
    assert list(tensors) == ["output-0"]
    assert [each > 0.5 for each in tensors["output-0"]] == [False, True, False, True]
    assert body == [low, high]
    assert service.signature().inputs == (TensorSignature("input-0", "FP64", (-1, 2)),)


def test_one_bad_row_does_not_fail_its_neighbours(tmp_path: Path, load: Load, ask: Ask) -> None:
    sklearn_file(tmp_path / "model.pkl")
    service = load({}, "sklearn_model", model={"serializedFile": "model.pkl"})
    good, short, text, ragged, infinite = ask(service, [[1.0, 0.0], [1.0], "text", [[1.0], []], [1.0, float("inf")]])
    assert (good.value, good.error) == (1, None)
    assert [each.status for each in (short, text, ragged, infinite)] == [400] * 4
    assert "X has 1 features" in str(short.error)
    assert "don't form an array" in str(ragged.error)
    assert "infinity" in str(infinite.error)


def test_probabilities_are_asked_for_by_the_environment(tmp_path: Path, load: Load, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDICT_PROBA", "true")
    sklearn_file(tmp_path / "model.joblib")
    [found] = values(ask(load({}, "sklearn_model", model={"serializedFile": "model.joblib"}), [[1.0, 0.0]]))
    assert len(found) == 2
    assert sum(found) == pytest.approx(1)


def test_a_pickle_that_cannot_be_read_says_what_to_do(tmp_path: Path, load: Load) -> None:
    def told(content: bytes) -> str:
        (tmp_path / "model.pkl").write_bytes(content)
        with pytest.raises(LoadError) as caught:
            load({}, "sklearn_model", model={"serializedFile": "model.pkl"})
        return f"{caught.value.message} ({caught.value.hint})"

    assert "cannot read model.pkl as joblib or pickle writes it: KeyError: 110" in told(b"not a pickle")
    assert f"the versions that are here (Python {python_version()}, scikit-learn {sklearn.__version__}, joblib " in told(b"not a pickle")
    assert "scikit-learn" in told(b"csklearn.of_old\nModel\n.")  # a module that another version had
    assert "import that from a module when saving" in told(b"c__main__\nMyModel\n.")
    assert "pip install of_mine" in told(b"cof_mine\nModel\n.")


def test_an_explanation_is_refused_and_a_description_is_empty(tmp_path: Path, load: Load, ask: Ask) -> None:
    sklearn_file(tmp_path / "model.joblib")
    service = load({}, "sklearn_model", model={"serializedFile": "model.joblib"})
    [refused] = ask(service, [[1.0, 0.0]], {"explain": "True"})
    assert (refused.status, "can't explain" in str(refused.error)) == (501, True)
    assert values(ask(service, [{"body": b""}], {"describe": "True"})) == [None]


def test_named_columns_reach_the_model_as_a_frame(tmp_path: Path, load: Load, ask: Ask) -> None:
    sklearn_file(tmp_path / "model.joblib", pandas.DataFrame(FEATURES, columns=["a", "b"]))
    service = load({}, "sklearn_model", model={"serializedFile": "model.joblib"})
    columns = Tensors({"a": numpy.array([0.0, 1.0]), "b": numpy.array([[1.0], [0.0]])})
    rows = values(ask(service, [{"a": 0.0, "b": 1.0}, {"a": [1.0], "b": [0.0]}, columns]))
    assert rows[:2] == [0, 1]
    assert rows[2]["output-0"].tolist() == [0, 1]
    [wrong] = ask(service, [{"a": 1.0, "c": 1.0}])
    assert (wrong.status, "feature names" in str(wrong.error)) == (400, True)


def test_an_onnx_file_has_its_own_names(tmp_path: Path, load: Load, ask: Ask) -> None:
    onnx_file(tmp_path / "model.onnx")
    service = load({}, "onnx_model", model={"serializedFile": "model.onnx"})
    x, y = numpy.ones((2, 2), "float32"), numpy.full((2, 2), 2, "int64")
    named, placed, instance = values(
        ask(service, [Tensors({"y": y, "x": x}), Tensors({"input-0": x, "input-1": y}), {"x": [1, 1], "y": [2, 2]}])
    )
    assert (named["sum"].tolist(), placed["sum"].tolist(), instance) == ([[3, 3], [3, 3]], [[3, 3], [3, 3]], [3, 3])
    [wrong] = ask(service, [[1, 1]])
    assert (wrong.status, "the model's inputs are x, y; the request has one without a name" in str(wrong.error)) == (400, True)
    x_told, y_told, sum_told = (TensorSignature(name, "FP32", (-1, 2)) for name in ("x", "y", "sum"))
    assert service.signature() == Signature("onnxruntime_onnx", (x_told, y_told), (sum_told,))


def test_a_model_of_one_batch_size_answers_one_by_one(tmp_path: Path, load: Load, ask: Ask) -> None:
    onnx_file(tmp_path / "model.onnx", batch=1)
    service = load({}, "onnx_model", model={"serializedFile": "model.onnx"})
    assert values(ask(service, [{"x": [1, 1], "y": [2, 2]}] * 3)) == [[3, 3]] * 3


@pytest.mark.parametrize("module", [torch.nn.Linear(2, 1), torch.nn.LayerNorm(2), torch.nn.BatchNorm1d(2).eval()])
def test_whole_numbers_are_fractions_where_the_model_wants_fractions(tmp_path: Path, load: Load, ask: Ask, module: torch.nn.Module) -> None:
    torch.jit.trace(module, (torch.zeros(1, 2),)).save(str(tmp_path / "model.pt"))
    service = load({}, "torch_model", model={"serializedFile": "model.pt"})
    whole, fraction = values([*ask(service, [[1, 2]]), *ask(service, [[1.0, 2.0]])])
    assert whole == fraction
    [short] = ask(service, [[1, 2, 3]])
    assert (short.status, "dtype" in str(short.error)) == (400, False)


def test_whole_numbers_stay_whole_where_the_model_wants_them(tmp_path: Path, load: Load, ask: Ask) -> None:
    torch.jit.trace(torch.nn.Embedding(3, 1), (torch.zeros(1, 2, dtype=torch.int64),)).save(str(tmp_path / "model.pt"))
    service = load({}, "torch_model", model={"serializedFile": "model.pt"})
    assert len(values(ask(service, [[0, 2]]))[0]) == 2
    [outside] = ask(service, [[0, 9]])
    assert outside.error == "the model refused the input: RuntimeError: index out of range in self (in TorchScript)"


def test_torchscript_takes_its_arguments_in_order(tmp_path: Path, load: Load, ask: Ask) -> None:
    torch.jit.trace(Scale(), (torch.zeros(1, 2), torch.zeros(1, 2))).save(str(tmp_path / "model.pt"))
    service = load({}, "torch_model", model={"serializedFile": "model.pt"})
    x, y = numpy.ones((1, 2), "float32"), numpy.full((1, 2), 3, "float32")
    triton, plain, instance = values(
        ask(service, [Tensors({"INPUT__1": y, "INPUT__0": x}), Tensors({"b": x, "a": y}), {"x": [1.0, 1.0], "y": [3.0, 3.0]}])
    )
    assert {name: array.tolist() for name, array in triton.items()} == {"OUTPUT__0": [[4, 4]], "OUTPUT__1": [[2, 2]]}
    assert {name: array.tolist() for name, array in plain.items()} == {"output-0": [[4, 4]], "output-1": [[2, 2]]}
    assert instance == {"output-0": [4, 4], "output-1": [2, 2]}
    assert service.signature() == Signature("pytorch_torchscript")


def test_a_missing_library_names_its_command(tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.bst").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "xgboost", None)
    with pytest.raises(LoadError, match=r"needs xgboost, which is not installed: pip install 'flambeau\[xgboost\]'"):
        load({}, "xgboost_model", model={"serializedFile": "model.bst"})
