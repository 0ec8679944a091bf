"""Projects of users, each with the built wheel: `make ecosystem`."""
