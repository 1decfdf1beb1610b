"""Pipelines of preflight: predictions of one model, and the page of all."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.preflight import nodes

_SETTINGS = "params:preflight"


def create_check_pipeline(model: str) -> Pipeline:
    """Create the pipeline that refuses a predictor that does not fit, before the model is asked anything."""
    inputs = ["predictor", "language_model", "params:methods", _SETTINGS]
    return Pipeline(
        [Node(nodes.check_predictor_with(model), inputs, "check_record", name="check_predictor", tags=["gpu"])]
    )


def create_pipeline(model: str) -> Pipeline:
    """Create the pipeline from a predictor and the features of one model's facts to predictions."""
    inputs = ["predictor", "features", "facts", _SETTINGS]
    return Pipeline([Node(nodes.forecast_with(model), inputs, "forecast", name="forecast")])


def create_report_pipeline(models: Sequence[str]) -> Pipeline:
    """Create the pipeline that joins the predictions of all models and writes the page.

    Args:
        models: Names of the models; ``<model>_forecast`` are inputs.
    """
    forecasts = [f"{model}_forecast" for model in models]
    tables = ["preflight_predictions", "preflight_advice"]
    return Pipeline(
        [
            Node(
                nodes.gather_with(models),
                ["facts", _SETTINGS, *forecasts],
                tables,
                name="gather_preflight",
            ),
            Node(
                nodes.write_page,
                ["predictor", *tables, "rejects", _SETTINGS],
                "preflight",
                name="write_preflight",
            ),
        ]
    )
