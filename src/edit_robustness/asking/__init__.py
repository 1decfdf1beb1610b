"""Asking edited models: probes and edits in, answers out."""
