"""What the tools do: show, check, search, move and keep, through the engine's own readers."""
