"""MEND's networks, which turn gradients into edits, and their training."""
