"""Making edits: an edit is a value that methods return, files hold, and a model wears for the length of a block."""
