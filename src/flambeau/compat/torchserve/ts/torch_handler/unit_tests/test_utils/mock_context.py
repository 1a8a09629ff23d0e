"""``from ts.torch_handler.unit_tests.test_utils.mock_context import MockContext``."""

from flambeau.serving.handlers.older.mock_context import MockContext

__all__ = ["MockContext"]
