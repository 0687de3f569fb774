"""What lives in memory: memtables, open snapshots, hot objects. No I/O."""
