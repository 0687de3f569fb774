"""The command line: ``kvengine COMMAND ...``, one command a file (docs/cli.md)."""
