"""Access to the web: one transport with retries, rate limits and a cache on disk for all requests."""
