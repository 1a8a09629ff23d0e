"""How many replicas a revision should have: observed load in, a wish with its reasons out."""
