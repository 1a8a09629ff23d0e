"""The handlers that others start from."""
