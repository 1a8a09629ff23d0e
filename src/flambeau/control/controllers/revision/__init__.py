"""Revisions become pods."""
