"""What a Config says when nobody says anything."""

DEFAULTS = {
    "url": "redis://localhost:6379",
    "username": None,
    "password": None,
    "db": 0,
    "prefix": "seq:",
    "timeout": 2.0,
    "connect_timeout": 2.0,
    "startup_timeout": 0.0,
    "max_pending": 100_000,
    "retry": "safe",
    "credentials": None,
    "protocol": 3,
    "client_name": "seqcache",
    "on_regress": "warn",
    "connections": 1,
    "token_ttl": 600,
    "ceilings": None,
    "deployment": "main",
    "step": 1000,
    "fence": "lease",
    "fence_time": 5.0,
}


def said(config):
    """Return what differs from the defaults."""
    return {
        name: getattr(config, name)
        for name, value in DEFAULTS.items()
        if getattr(config, name) != value
    }
