"""One verb per file: what the engine does with files and memory."""
