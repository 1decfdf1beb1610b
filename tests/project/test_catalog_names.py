"""Every folder that a node fills is in the catalog: another name would be kept in memory and never found again."""

import re

import pytest
import yaml
from fabricated_edits import REPOSITORY

BASE = REPOSITORY / "conf" / "base"
PATTERNS = [
    re.compile(re.sub(r"\\\{\w+\\\}", "[^.]+", re.escape(name)))
    for path in BASE.glob("catalog*.yml")
    for name in yaml.safe_load(path.read_text("utf-8"))
]


@pytest.mark.parametrize("name", ["smollm2.rome.artefact", "smollm2.rome_edits", "smollm2.moments"])
def test_a_folder_that_a_node_fills_is_in_the_catalog(name):
    assert [pattern for pattern in PATTERNS if pattern.fullmatch(name)]
