"""The pipelines that `kedro run --pipeline=...` knows."""

from kedro.framework.session import KedroSession
from kedro.pipeline import Pipeline

from edit_robustness.assembly import assemble
from edit_robustness.configuration.active import Holder


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines of the active configuration; see `assemble`.

    A plug-in, an IDE or `kedro registry list` asks for them without a context. Then the configuration is read as a
    run would read it: from the project around the working folder, in the environment that `KEDRO_ENV` names.
    """
    if Holder.configuration is None:
        KedroSession.create(save_on_close=False).load_context()
    assert Holder.configuration is not None, "the project's context sets it"
    return assemble(Holder.configuration)
