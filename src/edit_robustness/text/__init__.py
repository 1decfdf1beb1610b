"""Text as people write it: what stands between a prompt and its object, and where a text names an object."""
