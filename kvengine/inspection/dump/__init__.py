"""One file of a database as text and as data, damaged or not. Needs the file alone."""
