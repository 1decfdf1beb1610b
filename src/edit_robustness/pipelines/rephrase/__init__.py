"""Rephrase: builds wordings of the facts, and from these all probes."""

from edit_robustness.pipelines.rephrase.nodes import SOURCES
from edit_robustness.pipelines.rephrase.pipeline import create_pipeline

__all__ = ["SOURCES", "create_pipeline"]
