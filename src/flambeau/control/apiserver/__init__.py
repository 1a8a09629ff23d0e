"""The store over HTTPS, enough for the real kubectl and the kserve SDK."""
