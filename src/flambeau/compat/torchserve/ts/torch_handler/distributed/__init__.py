"""Handlers whose model spans several devices."""
