"""The manifest: its format, writer and reader."""
