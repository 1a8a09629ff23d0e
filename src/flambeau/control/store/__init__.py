"""The only meeting place of the control rooms: objects with versions, watches, owners."""
