"""Live access: other processes read and edit through the owner, over a Unix socket."""
