"""Sessions: what a handler runs in. One object, exclusively, as one atomic commit."""
