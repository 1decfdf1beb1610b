"""The documents are true: the README's commands, figures and links."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from edit_robustness.editing.registry import ENTRIES
from edit_robustness.prompts.kinds import KINDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("data/01_raw/*.md")])
SET_UP = (
    "python3.11 -m venv .venv",
    ".venv/bin/pip install torch==2.13.0",
    ".venv/bin/pip install --no-deps -r requirements.lock -e .",
)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def read_file(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("last", [".venv/bin/kedro run --pipeline=edit_eval", ".venv/bin/pytest"])
def test_the_readme_has_both_commands_on_one_line_each(last: str):
    assert f"    {' && '.join([*SET_UP, last])}" in read_file("README.md").splitlines()


def test_ci_makes_the_environment_as_the_readme_does():
    lines = [line.replace('"$python"', "python3.11") for line in read_file(".ci/run").splitlines()]
    first = lines.index(SET_UP[0])
    assert tuple(lines[first : first + len(SET_UP)]) == SET_UP


def test_make_makes_the_environment_as_the_readme_does():
    spelt_out = read_file("Makefile").replace("$(PYTHON)", "python3.11").replace("$(BIN)", ".venv/bin")
    lines = [line.strip() for line in spelt_out.replace("$(VENV)", ".venv").splitlines()]
    assert [line for line in lines if line in SET_UP] == list(SET_UP)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path):
    dead_links = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()]
    assert not dead_links


def test_the_lock_and_ci_use_one_torch():
    torch = re.search(r'"(torch==[\d.]+)"', read_file("pyproject.toml"))
    assert torch is not None
    assert all(torch.group(1) in read_file(name) for name in ("README.md", ".ci/run", "Makefile"))
    assert not re.search(r"^torch==", read_file("requirements.lock"), re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_kedro_have_one_form(path: Path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if ".venv/bin/kedro" in line]
    assert [line for line in lines if SET_UP[0] not in line] == []


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial/first-run.md"])
def test_the_form_of_commands_is_explained(name: str):
    assert "source .venv/bin/activate" in read_file(name)


def test_the_citation_agrees_with_the_package():
    project = tomllib.loads(read_file("pyproject.toml"))
    citation = yaml.safe_load(read_file("CITATION.cff"))
    assert citation.keys() >= {"cff-version", "message", "title", "type", "version", "license", "authors"}
    assert citation["version"] == project["project"]["version"]
    assert citation["license"] == project["project"]["license"]
    assert citation["title"] == project["tool"]["kedro"]["project_name"]


def test_the_readme_is_short():
    assert len(read_file("README.md").splitlines()) < 200


def test_the_glossary_names_every_kind_of_prompt():
    kinds = read_file("docs/glossary.md").split("## Kinds of prompt\n")[1]
    assert re.findall(r"^\| `(\w+)` \| (\w+) ", kinds, re.MULTILINE) == [(k.name, k.family) for k in KINDS.values()]


def test_the_readme_counts_the_kinds_of_prompt_that_there_are():
    default = yaml.safe_load(read_file("conf/base/parameters.yml"))["probes"]["kinds"]
    words = {8: "eight", 9: "nine", 10: "ten", 11: "eleven", 12: "twelve"}
    assert f"`--params=probes.kinds=all` ({len(KINDS)} kinds)" in read_file("README.md")
    assert f"**Kinds of prompt**: by default {words[len(default)]}." in read_file("README.md")


def test_the_readme_counts_and_names_the_editing_methods():
    own_methods = [entry for entry in ENTRIES.values() if entry.is_edit and entry.name not in ("easyedit", "external")]
    text = read_file("README.md")
    assert f"You can compare {len(own_methods)} editing methods" in text
    choices = text.split("You can choose ")[1].split(". ")[0]
    assert [entry.label for entry in own_methods if entry.label not in choices] == []
