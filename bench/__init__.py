"""Measures every line of the speed table, us and the other clients in one run.

``python -m bench`` from the root of the repository; docs/benchmarks.md says how to
read it. One file answers one question (async_calls, threads, bulk, ...): its
``measure(task)`` runs in a fresh process and returns a flat dict of numbers.
"""
