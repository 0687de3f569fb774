"""Flush and compaction: what to rewrite (picker), as data (job), and doing it (run)."""
