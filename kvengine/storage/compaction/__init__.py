"""Flush and compaction: what is due, how it runs, how it is installed."""
