"""Running flush and compaction: lanes, a helper process, or the caller itself."""
