"""Every namespace gets its ServiceAccount."""
