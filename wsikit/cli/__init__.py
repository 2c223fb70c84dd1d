"""The command line: one thin file a command, nothing heavy at import."""
