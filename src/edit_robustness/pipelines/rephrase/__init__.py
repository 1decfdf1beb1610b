"""From facts to wordings, and from these to all that is asked about the facts."""

from edit_robustness.pipelines.rephrase.nodes import SOURCES
from edit_robustness.pipelines.rephrase.pipeline import create_pipeline

__all__ = ["SOURCES", "create_pipeline"]
