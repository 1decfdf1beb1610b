"""Runs of the test environment in which one node is slow, for a test to kill.

Each line of the input has a project's folder, a node and a pipeline. Imports take longer than a run, so that each run
is a fork of the process that has them: it tells the number of the run's process, and its status once it has ended.
"""

import json
import os
import sys
import time
import traceback
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


def run_slowly(folder, node, pipeline):
    if node == "edit":
        Rome.edit_each = slowly(Rome.edit_each)
    elif node == "edit_in_sequence":
        Rome.edit = late(Rome.edit)
    elif node == "measure_abilities":
        abilities.measure = late(abilities.measure)
    else:
        answers.ask = slowly(answers.ask)
    os.chdir(folder)
    bootstrap_project(Path(folder))
    with KedroSession.create(folder, env="test", save_on_close=False) as session:
        session.run(pipeline_names=[pipeline])


def in_a_fork(function, *words):
    process = os.fork()
    if process:
        return process
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    status = 1
    try:
        function(*words)
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def tell(number):
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for line in sys.stdin:
        process = in_a_fork(run_slowly, *json.loads(line))
        tell(process)
        tell(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
