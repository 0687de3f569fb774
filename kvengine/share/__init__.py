"""Several processes on one directory: its owner serves the others, and tools, by a Unix socket."""
