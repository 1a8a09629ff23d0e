"""``from ts.torch_handler.unit_tests.test_utils.mock_context import MockContext``."""

from flambeau.serving.handlers.mock_context import MockContext

__all__ = ["MockContext"]
