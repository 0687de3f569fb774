"""Bytes on disk: layouts, checksums and their validity rules. No I/O. See FORMAT.md."""
