"""Records, table definitions, configuration and errors: standard library and pydantic only."""
