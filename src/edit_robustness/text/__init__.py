"""Rules about natural text: the space between a prompt and its object, and whether a text names an object."""
