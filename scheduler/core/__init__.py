"""The scheduler's decisions: no clock, file, socket, thread or chance in here; all of it comes as arguments."""
