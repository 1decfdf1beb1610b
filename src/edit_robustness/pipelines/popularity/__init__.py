"""From a table of page views and perplexities to their correlations, without a model: paper 1's own figures."""

from edit_robustness.pipelines.popularity.pipeline import create_pipeline

__all__ = ["create_pipeline"]
