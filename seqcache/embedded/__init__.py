"""Durable without a server: counters in this process, ceilings in a database."""
