"""WAL files: their format, writer, reader and salvage."""
