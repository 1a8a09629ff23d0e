"""Pods become processes on this machine."""
