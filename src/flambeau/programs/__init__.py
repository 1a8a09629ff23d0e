"""Which rooms make a process; settings; nothing is decided here."""
