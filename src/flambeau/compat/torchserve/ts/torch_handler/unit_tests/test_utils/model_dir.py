"""``from ts.torch_handler.unit_tests.test_utils.model_dir import copy_files``."""

from flambeau.serving.handlers.older.mock_model import copy_files, download_model

__all__ = ["copy_files", "download_model"]
