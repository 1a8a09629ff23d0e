"""Multi Model Server's services."""
