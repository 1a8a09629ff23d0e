"""Level-triggered reconcilers, one folder per kind."""
