"""Kinds as plain data: fields, defaults, checks, conditions, printer columns; one file per kind.

Objects are JSON objects (``dict[str, Any]``) exactly as they travel: what a kind does not know is kept, never dropped.
"""
