"""The edits beside those of EasyEdit's code, recorded on the same models, facts, statistics and settings."""

import json
from pathlib import Path

import parity
import pytest
import torch
from parity_cases import CASES, RECORDING

from edit_robustness.editing.methods import METHODS

BY_NAME = {case.name: case for case in CASES}
DIFFERENCES = (
    ("rome", {"kl_position": "prompt_end"}),
    ("rome", {"variant": "r_rome"}),
    ("rome_without_moments", {"mom2_adjustment": True}),
    ("memit", {"kl_position": "prompt_end"}),
    ("memit", {"statement_weight": "equal"}),
    ("memit_sequence", {"protect_history": True}),
    ("alphaedit_sequence", {"kl_position": "prompt_end"}),
    ("alphaedit_sequence", {"statement_weight": "equal"}),
    ("pmet", {"kl_position": "prompt_end"}),
    ("pmet_leading", {"leading_weight": 1.0}),
    ("pmet_settled", {"leading_weight": 1.0}),
    ("ft_batch", {"loss_mean": "tokens"}),
    ("ft_l", {"norm_constraint": 0.0201}),
    ("grace_split", {"eps_init": 0.5}),
    ("mend", {"parts": ("mlp_out",)}),
)
"""Settings that are not the reference code's: each must be seen."""


@pytest.mark.parametrize("name", BY_NAME)
def test_an_edit_is_that_of_the_reference_code(name):
    assert parity.difference(BY_NAME[name]) <= parity.TOLERANCE


@pytest.mark.parametrize(("name", "changes"), DIFFERENCES, ids=str)
def test_another_setting_is_seen(name, changes):
    case = BY_NAME[name]
    result, reference = parity.compute(case, **changes), parity.read_reference(case)
    assert result.keys() != reference.keys() or parity.relative_difference(result, reference) > 10 * parity.TOLERANCE


def test_the_recording_is_of_these_cases():
    inputs = json.loads(parity.read_recording()[1]["cases"])
    assert inputs == {case.name: case.inputs for case in CASES}, f"record {RECORDING.name} again: record_easyedit.py"


def test_every_switch_is_a_setting_of_its_method():
    for case in CASES:
        assert set(case.switches) <= set(METHODS[case.method].__dataclass_fields__)


def test_the_documents_table_is_of_these_cases():
    text = Path(__file__).parents[2].joinpath("docs/explanation/methods.md").read_text("utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    table = [(row[0][2:], row[1], row[3].removesuffix(" |")) for row in rows if row[1].strip("`") in BY_NAME]
    assert table == [(f"`{case.method}`", f"`{case.name}`", parity.switches(case)) for case in CASES]
    assert f"`{parity.read_recording()[1]['commit'][:7]}`" in text


def test_the_difference_is_that_of_all_weights_together_and_of_each_other_result():
    reference = {"0.mlp_out": torch.tensor([3.0, 0.0]), "1.mlp_out": torch.tensor([4.0]), "radii": torch.tensor([1.0])}
    result = {**reference, "1.mlp_out": torch.tensor([4.5])}
    assert parity.relative_difference(result, reference) == pytest.approx(0.1)
    assert parity.relative_difference({**result, "radii": torch.tensor([1.2])}, reference) == pytest.approx(0.2)
    with pytest.raises(ValueError, match=r"gives \['radii'\], the recording has"):
        parity.relative_difference({"radii": reference["radii"]}, reference)
