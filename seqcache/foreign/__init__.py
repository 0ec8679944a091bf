"""Caches over backends of third parties: both faces, the engine's manners."""
