"""Other readings of a request's body."""
