"""`kedro run --pipeline=popularity`: from a table to figures and a page, without a model."""

import pandas as pd
import pytest
from fabricated_tables import fabricate


def test_a_table_gives_tables_and_a_page(project, tmp_path):
    path = tmp_path / "measured.csv"
    fabricate(n_known=120).recall.to_csv(path, index=False)
    project.run(pipeline_names=["popularity"], parameters={"facts_path": str(path)})
    correlations = project.table("popularity_correlations")
    assert set(correlations["outcome"]) == {"log_probability_true", "log_probability_new", "preference_true"}
    assert project.table("popularity_summary")["n_relations"].iloc[0] == 12
    assert len(project.table("popularity_relations")) == 36
    page = (project.latest / "popularity.html").read_text(encoding="utf-8")
    assert "Does a model know popular subjects better?" in page
    assert pd.read_csv(project.latest / "popularity_correlations.csv").shape[0] == 3


def test_facts_without_perplexities_are_refused(project):
    with pytest.raises(Exception, match="no column for perplexity_true"):
        project.run(pipeline_names=["popularity"])
