"""A run of the test environment in which one node is slow, for a test to kill: folder, node, pipeline."""

import sys
import time
from pathlib import Path

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from edit_robustness.editing.methods.rome import Rome
from edit_robustness.pipelines.abilities import nodes as abilities
from edit_robustness.workers import answers

PAUSE = 0.5
FEW = 10
"""Recalling all facts is not slowed."""


def slowly(original):
    def wrapper(*args, **options):
        is_short = any(isinstance(several, list) and len(several) < FEW for several in args)
        for item in original(*args, **options):
            yield item
            time.sleep(PAUSE * is_short)

    return wrapper


def late(original):
    def wrapper(*args, **options):
        time.sleep(PAUSE)
        return original(*args, **options)

    return wrapper


if __name__ == "__main__":
    folder, node, pipeline = Path(sys.argv[1]), *sys.argv[2:]
    if node == "edit":
        Rome.edit_each = slowly(Rome.edit_each)
    elif node == "edit_in_sequence":
        Rome.edit = late(Rome.edit)
    elif node == "measure_abilities":
        abilities.measure = late(abilities.measure)
    else:
        answers.ask = slowly(answers.ask)
    bootstrap_project(folder)
    with KedroSession.create(folder, env="test", save_on_close=False) as session:
        session.run(pipeline_names=[pipeline])
