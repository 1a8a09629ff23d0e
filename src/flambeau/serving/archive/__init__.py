"""Model archives: manifest, pack, unpack."""
