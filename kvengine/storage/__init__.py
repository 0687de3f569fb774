"""The LSM tree: bytes and names, no JSON, no sessions."""
