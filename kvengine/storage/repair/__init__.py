"""What a damaged directory still proves, and a new database made of it."""
