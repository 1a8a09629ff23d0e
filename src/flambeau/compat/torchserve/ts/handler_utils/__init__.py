"""Tools around a handler's steps."""
