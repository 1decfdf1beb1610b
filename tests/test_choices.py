"""One command lists what a run can be made of."""

import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner
from fabricated_edits import REPOSITORY

from edit_robustness.choices import SECTIONS, describe, main
from edit_robustness.cli import cli
from edit_robustness.editing.registry import ENTRIES
from edit_robustness.prompts.kinds import KINDS

CONF = REPOSITORY / "conf"


def names(section):
    return [line.split()[0] for line in list(describe((section,), CONF))[1:]]


def test_every_method_kind_benchmark_data_set_and_model_is_listed_with_a_description():
    assert names("methods") == list(ENTRIES)
    assert names("kinds") == list(KINDS)
    presets = yaml.safe_load((CONF / "base/parameters_abilities.yml").read_text())["abilities"]["presets"]
    assert names("benchmarks") == [f"{preset}.{name}" for preset, benchmarks in presets.items() for name in benchmarks]
    assert {"raw_facts", "counterfact", "zsre", "popqa", "pararel", "study_facts"} <= set(names("facts"))
    assert names("models")[0] == "smollm2"
    lines = [line for line in describe((), CONF) if line.startswith("  ")]
    assert all(len(line.split()) > 3 for line in lines)
    assert all(len(line) < 190 for line in lines)


def test_models_of_another_environment_say_how_it_is_chosen():
    (line,) = [line for line in describe(("models",), CONF) if line.startswith("  gpt2_xl ")]
    assert line.endswith("hub: openai-community/gpt2-xl (--env=gpu)")


def test_a_users_own_model_and_table_are_listed(tmp_path):
    (tmp_path / "local").mkdir()
    entries = {
        "mine.language_model": {"type": "edit_robustness.datasets.LanguageModelDataset", "folder": "models/mine"},
        "my_facts": {"type": "edit_robustness.datasets.FactsDataset", "format": "table", "path": "x.csv"},
    }
    (tmp_path / "local" / "catalog.yml").write_text(yaml.safe_dump(entries))
    lines = [line.split(maxsplit=1) for line in describe(("facts", "models"), tmp_path) if line.startswith("  ")]
    assert lines == [["my_facts", "A table of your own, one fact per row."], ["mine", "folder: models/mine"]]


def test_the_command_lists_all_or_one_sort():
    def run(*words):
        return CliRunner().invoke(cli, ["list", *words])

    assert [title in run().stdout for title in (section.title for section in SECTIONS.values())] == [True] * 5
    assert "MEMIT" in run("methods").stdout
    assert "popqa" not in run("methods").stdout
    assert "'methods', 'kinds', 'facts', 'benchmarks', 'models'" in run("method").output


def test_methods_and_kinds_are_listed_without_torch():
    script = "import sys; from edit_robustness.choices import main; main(('methods', 'kinds', 'benchmarks', 'models'))"
    script += "; assert not {'torch', 'kedro'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True, capture_output=True)


def test_a_sort_that_does_not_exist_is_told():
    with pytest.raises(SystemExit, match="there is no list `metods`; there are methods, kinds"):
        main(("metods",))


def test_a_pipe_that_is_closed_early_is_no_error():
    command = [sys.executable, "-m", "kedro", "list"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
