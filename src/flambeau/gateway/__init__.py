"""The front door: host and path -> replica. Its own process; it goes on when the control plane dies."""
