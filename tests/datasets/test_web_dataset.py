import pytest
from kedro.io import DatasetError
from local_server import Say, local_server

from edit_robustness.datasets.web import WebDataset
from edit_robustness.web.transport import RequestFailed, Response


def test_what_was_asked_once_is_there_offline(tmp_path):
    settings = {"cache": str(tmp_path / "cache"), "user_agent": "tests", "per_second": 1000.0}
    with local_server() as server:
        server.says(Say({"a": 1}))
        assert WebDataset(**settings).load().get(server.url, {}, Response.json) == {"a": 1}
    offline = WebDataset(**settings, offline=True).load()
    assert offline.get(server.url, {}, Response.json) == {"a": 1}
    with pytest.raises(RequestFailed, match="`offline` is true"):
        offline.get(server.url, {"q": "2"}, Response.json)


def test_loading_needs_nobody_and_nothing(tmp_path):
    assert WebDataset(cache=str(tmp_path / "cache"), user_agent="").load()
    assert not list(tmp_path.iterdir())


def test_a_manner_that_makes_no_sense_is_named(tmp_path):
    with pytest.raises(DatasetError, match="per_second"):
        WebDataset(cache=str(tmp_path), per_second=0)
    with pytest.raises(DatasetError, match="retries"):
        WebDataset(cache=str(tmp_path), retries=3)


def test_it_cannot_be_saved(tmp_path):
    with pytest.raises(DatasetError, match="read only"):
        WebDataset(cache=str(tmp_path)).save({})
