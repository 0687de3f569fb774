"""Virtual objects and workflows: light handles on the state of one object, with typed values."""
