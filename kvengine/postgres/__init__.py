"""The Store on databases that speak the wire of PostgreSQL. Needs the extra ``postgres``."""
