"""Pipeline of popularity: estimates, draws and writes the page."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.popularity import nodes

SETTINGS = "params:popularity"


def create_pipeline() -> Pipeline:
    """Create the analysis of ``popularity_source``, which is a file of the user's; it loads no model."""
    tables = ["popularity_correlations", "popularity_relations", "popularity_summary"]
    return Pipeline(
        [
            Node(nodes.correlate, ["popularity_source", SETTINGS], tables, name="correlate_popularity"),
            Node(nodes.draw, ["popularity_relations", SETTINGS], "popularity_relation_figure", name="draw_relations"),
            Node(
                nodes.write_page,
                [*tables, "popularity_relation_figure", SETTINGS],
                "popularity_page",
                name="popularity_page",
            ),
        ]
    )
