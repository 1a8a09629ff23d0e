"""The old names of what handlers send with."""
