"""Typed state: a class whose annotations are state keys."""
