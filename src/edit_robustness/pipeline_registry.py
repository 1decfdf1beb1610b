"""The pipelines that `kedro run --pipeline=...` knows."""

from kedro.pipeline import Pipeline

from edit_robustness import grid


def register_pipelines() -> dict[str, Pipeline]:
    """`edit_eval` is the main job, and what `kedro run` alone does; `rescore` and `bake` come after it.

    `conversation` uses the same edits, and makes those that are not there. `sequential_eval` edits one fact after
    another; it has a grid of its own, without which it is not there.
    """
    active, judged, in_sequence = grid.active(), grid.judged(), grid.sequential()
    main = grid.edit_eval(active, judged, grid.worded_by())
    return {
        **({"sequential_eval": grid.sequential_eval(in_sequence)} if in_sequence else {}),
        "__default__": main,
        "edit_eval": main,
        "conversation": grid.conversing(active),
        "rescore": grid.rescoring(active, judged),
        "bake": grid.baking(active, grid.baked()),
    }
