"""One kind of disk file each: how it is written, read, and what a crash leaves of it."""
