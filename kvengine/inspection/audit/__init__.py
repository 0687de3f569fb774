"""Every byte and every invariant of a directory, checked without opening it."""
