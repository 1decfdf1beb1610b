"""Editing methods, and edits as values: methods return them, files store them, and a `with` block applies them."""
