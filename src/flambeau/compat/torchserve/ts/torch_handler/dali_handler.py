"""``from ts.torch_handler.dali_handler import DALIHandler``."""

from flambeau.serving.handlers.defaults.elsewhere import DALIHandler

__all__ = ["DALIHandler"]
