"""A model for users' own tests: ``from ts.torch_handler.unit_tests.models.base_model import ArgmaxModel``."""

from flambeau.serving.handlers.older.mock_model import ArgmaxModel, save_pt_file

__all__ = ["ArgmaxModel", "save_pt_file"]
