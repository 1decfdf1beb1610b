"""Benchmarks of our own, as tasks of the harness: they need no network, and a small model is clearly above chance."""
