"""The pipelines that `kedro run --pipeline=...` knows."""

from pathlib import Path

from kedro.framework.session import KedroSession
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from edit_robustness.assembly import assemble
from edit_robustness.configuration.active import Holder


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines of the active configuration; see `assemble`.

    A plug-in, an IDE or `kedro registry list` asks for them without a context. Then the configuration is read as a
    run would read it: from the project around the working folder (or else around this file), in the environment that
    `KEDRO_ENV` names.
    """
    if Holder.configuration is None:
        project = find_kedro_project(Path.cwd()) or find_kedro_project(Path(__file__).parent)
        KedroSession.create(project, save_on_close=False).load_context()
    assert Holder.configuration is not None, "the project's context sets it"
    return assemble(Holder.configuration)
