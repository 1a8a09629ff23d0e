"""Rows of a table in, one prediction a row: scikit-learn, XGBoost and LightGBM, as KServe's servers for them answer.

Columns with names (V1 instances that are objects, V2 with several inputs or content type ``pd``) reach the model as a DataFrame.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
from pathlib import Path
from platform import python_version
from typing import Any

import numpy

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.defaults.requirement import required
from flambeau.serving.handlers.defaults.tensors import OUTPUT, UNNAMED, TensorHandler
from flambeau.serving.model import Signature, Tensors, TensorSignature

logger = logging.getLogger(__name__)

MLSERVER_OUTPUT = "predict"
"""How MLServer calls what its runtimes predict: a column, where KServe's own servers send a row."""
PROBABILITY_SWITCH = "PREDICT_PROBA"
"""Environment variable, as of KServe's server: answer with probabilities instead of classes."""


class TableHandler(TensorHandler):
    """Serve a model of tables; a subclass loads it and predicts."""

    extra = "sklearn"
    """Of flambeau, which brings pandas too."""

    def predict(self, table: Any) -> Any:
        """Return one prediction a row.

        Args:
            table: an array ``(rows, features)``, or a DataFrame where the columns have names.
        """
        raise NotImplementedError

    def inputs_of(self, tensors: Tensors) -> dict[str, Any]:
        """Return one input as the whole table, several as its columns."""
        inputs = super().inputs_of(tensors)
        if len(inputs) == 1 and tensors.parameters.get("content_type") != "pd":
            return {UNNAMED: next(iter(inputs.values()))}
        # A column comes as (rows,) or as (rows, 1).
        return {name: array.reshape(len(array)) if array.ndim == 2 and array.shape[1] == 1 else array for name, array in inputs.items()}

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the predictions."""
        if inputs.keys() == {UNNAMED}:
            return self._named(self.predict(inputs[UNNAMED]))
        pandas = required("pandas", self.extra)
        # An object may hold a column's values as a list, as it does for KServe's server.
        columns = {name: array[0] if array.ndim == 2 and len(array) == 1 else array for name, array in inputs.items()}
        return self._named(self.predict(pandas.DataFrame(columns)))

    def _named(self, predictions: Any) -> dict[str, Any]:
        if not self.options.get("as_mlserver"):
            return {OUTPUT: predictions}
        array = numpy.asarray(predictions)
        return {MLSERVER_OUTPUT: array[:, numpy.newaxis] if array.ndim == 1 else array}

    def _signature(self, platform: str, features: int | None) -> Signature:
        return Signature(platform, (TensorSignature("input-0", "FP64", (-1, features)),) if features else ())


class SklearnHandler(TableHandler):
    """Serve an estimator or pipeline that joblib or pickle saved.

    Loading such a file runs the code in it, as loading an archive's handler does: the file is as trusted as a handler. It is read once,
    in the worker, from the model's own folder, and never from a request.
    """

    def load(self, path: Path, context: Context) -> Any:
        """Return the estimator; the log has the file's digest, because what it holds is code."""
        required("sklearn", self.extra)
        import joblib  # noqa: PLC0415 - comes with scikit-learn

        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        logger.info("%s is a pickle, and loading it runs the code in it; sha256:%s", path.name, digest)
        try:
            return joblib.load(path)
        except Exception as error:
            top = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else ""
            if top and importlib.util.find_spec(top) is None:
                raise  # a package that is not installed, and is told as such
            raise ValueError(_unreadable(path, error)) from error

    def predict(self, table: Any) -> Any:
        """Return classes or numbers, or with PREDICT_PROBA=true each class's probability."""
        if os.environ.get(PROBABILITY_SWITCH, "false").lower() == "true" and hasattr(self.model, "predict_proba"):
            found = self.model.predict_proba(table)
            return numpy.stack(found, axis=1) if isinstance(found, list) else found  # a list has an array for each of several targets
        return self.model.predict(table)

    def signature(self) -> Signature:
        """Return the number of features, where the estimator knows it."""
        return self._signature("sklearn", getattr(self.model, "n_features_in_", None))


def _unreadable(path: Path, error: Exception) -> str:
    """Return why a pickle can't be read, and what to do."""
    told = f"cannot read {path.name} as joblib or pickle writes it: {type(error).__name__}: {error}"
    if isinstance(error, AttributeError) and "__main__" in str(error):
        return f"{told}; it holds a class of a notebook or script: import that from a module when saving, and install the module here"
    here = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("scikit-learn", "joblib", "numpy"))
    return f"{told}; save it with the versions that are here (Python {python_version()}, {here}), or install its versions here"


class XGBoostHandler(TableHandler):
    """Serve a booster that XGBoost saved as ``.bst``, ``.json`` or ``.ubj``."""

    extra = "xgboost"

    def load(self, path: Path, context: Context) -> Any:
        """Return the booster, on as many threads as ``nthread`` says."""
        booster = required("xgboost", self.extra).Booster(params={"nthread": int(self.options.get("nthread", 1))})
        booster.load_model(path)
        return booster

    def predict(self, table: Any) -> Any:
        """Return the booster's predictions."""
        matrix = required("xgboost", self.extra).DMatrix(table, nthread=int(self.options.get("nthread", 1)))
        # Whoever sends numbers without names means the columns in their order.
        return self.model.predict(matrix, validate_features=matrix.feature_names is not None)

    def signature(self) -> Signature:
        """Return the number of features."""
        return self._signature("xgboost", self.model.num_features())


class LightGBMHandler(TableHandler):
    """Serve a booster that LightGBM saved as text, ``.bst`` or ``.txt``."""

    extra = "lightgbm"

    def load(self, path: Path, context: Context) -> Any:
        """Return the booster."""
        return required("lightgbm", self.extra).Booster(model_file=str(path))

    def predict(self, table: Any) -> Any:
        """Return the booster's predictions, of columns in the order in which it learned them."""
        ordered = table[self.model.feature_name()] if hasattr(table, "columns") else table
        return self.model.predict(ordered, num_threads=int(self.options.get("nthread", 1)))

    def signature(self) -> Signature:
        """Return the number of features."""
        return self._signature("lightgbm", self.model.num_feature())
