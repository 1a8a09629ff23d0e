"""What prepares a handler's input."""
