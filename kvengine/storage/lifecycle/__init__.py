"""A directory opened, recovered, followed, copied and closed."""
