"""Objects from one place to another: export, import, copy."""
