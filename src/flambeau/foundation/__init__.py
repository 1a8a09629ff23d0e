"""What every room stands on: errors, clock, tasks, processes, HTTP, logs. No domain words."""
