"""The manifest's objects."""
