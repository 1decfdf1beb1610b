"""Abilities: what each model can do besides its edited facts, at every checkpoint of its sequences of edits."""

from edit_robustness.pipelines.abilities.pipeline import create_pipeline, create_planning_pipeline

__all__ = ["create_pipeline", "create_planning_pipeline"]
