"""Worker processes: their life, their link, their pool."""
