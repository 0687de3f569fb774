"""The web page: look into a database, and mend it, from a browser on the same machine."""
