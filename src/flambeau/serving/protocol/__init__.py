"""Pure codecs, one file per wire form."""
