"""Where the benchmarks' files are, from the catalog and from the command line."""

from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DatasetError

from edit_robustness.datasets import BenchmarkFiles

ROOT = Path(__file__).parents[2]


def entry(**runtime):
    loader = OmegaConfigLoader(str(ROOT / "conf"), "test", runtime, base_env="base")
    settings = dict(loader["catalog"]["benchmark_files"])
    settings.pop("type")
    return BenchmarkFiles(**settings)


def test_without_a_folder_nothing_is_local():
    files = entry().load()
    assert (files.folder, dict(files.files)) == (None, {})
    assert files.splits("openai/gsm8k", "main") is None


def test_a_folder_is_given_for_one_run(tmp_path):
    assert entry(benchmarks_path=str(tmp_path)).load().folder == tmp_path


def test_one_benchmark_can_have_a_folder_of_its_own(tmp_path):
    files = BenchmarkFiles(files={"gsm8k": str(tmp_path)}).load()
    assert (files.folder, files.files) == (None, {"gsm8k": tmp_path})


def test_a_folder_that_is_not_there_is_named_at_once():
    with pytest.raises(DatasetError, match=r"folder: no/such is no folder; .*mmlu, bbh, gsm8k.*benchmarks_path"):
        entry(benchmarks_path="no/such")


def test_it_is_read_only():
    with pytest.raises(DatasetError, match="read only"):
        BenchmarkFiles().save("benchmarks")
