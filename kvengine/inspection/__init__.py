"""Looking into files and databases: text for people. Reads through the engine's own readers."""
