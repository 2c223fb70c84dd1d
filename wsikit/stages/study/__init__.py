"""The whole path in one command."""
