"""One small pure reader for each published form of facts: its records to rows of the raw table of facts."""

from edit_robustness.datasets.readers.formats import FORMATS, Format

__all__ = ["FORMATS", "Format"]
