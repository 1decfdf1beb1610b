"""Talking to the outside: one polite transport (retries, rates, a cache on disk) for all that is asked of the web."""
