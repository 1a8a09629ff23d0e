"""Doors: bytes and headers in, core types out."""
