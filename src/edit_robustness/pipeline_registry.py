"""The pipelines that `kedro run --pipeline=...` knows."""

from kedro.pipeline import Pipeline

from edit_robustness import grid


def register_pipelines() -> dict[str, Pipeline]:
    """`edit_eval` is the main job, and what `kedro run` alone does; `bake` writes edited models after it."""
    main = grid.edit_eval(grid.active())
    return {"__default__": main, "edit_eval": main, "bake": grid.baking(grid.active(), grid.baked())}
