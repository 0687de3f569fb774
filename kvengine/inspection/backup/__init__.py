"""Incremental backups in generations, and what is restored of them."""
