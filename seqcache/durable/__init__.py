"""Durable mode: no number twice, none back, whatever Redis loses (docs/durable.md)."""
