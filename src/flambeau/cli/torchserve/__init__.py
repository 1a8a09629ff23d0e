"""The old commands' look-alikes."""
