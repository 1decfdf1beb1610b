"""Benchmarks of this package as tasks of the harness: they need no network, and small models score above chance."""
