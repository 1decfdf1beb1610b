"""What MEND consists of: networks that turn gradients into edits, and their training."""
