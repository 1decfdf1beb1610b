"""Errors that the command line shows as they are."""

from __future__ import annotations


class RunIncomplete(Exception):
    """A run that came to its end with items that failed. Its message is shown as it is, and no traceback is kept."""
