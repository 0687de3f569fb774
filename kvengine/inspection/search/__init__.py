"""Entries found by their names and by what their values say."""
