"""Segments: their format, writer, reader and salvage."""
