from benchmarks.tables import COLUMNS, RATIOS, markdown, ratios, row


def edit(cpu, **fields):
    scores = [
        {"kind": "statement", "new_over_true": True, "match_new": cpu > 1},
        {"kind": "paraphrase", "new_over_true": False, "match_new": False},
        {"kind": "neighbourhood", "new_over_true": False, "match_new": False},
        {"kind": "neighbourhood", "new_over_true": True, "match_new": True},
    ]
    costs = {"wall": cpu, "cpu": cpu, "forward": 0.5 * cpu, "backward": 0.25 * cpu, "steps": 4, "tokens": 40}
    return {**costs, "scores": scores, **fields}


def answer(*edits):
    return {"edits": list(edits), "editing_peak": 3 << 20, "versions": {}}


OURS = row("rome", "ours", answer(edit(1.0, suffix=5, bytes=1024), edit(3.0, suffix=7, bytes=3072)))
THEIRS = row("rome", "EasyEdit", answer(edit(8.0), edit(12.0)))


def test_a_row_has_mean_least_and_most_of_its_edits():
    assert OURS["cpu"] == {"mean": 2.0, "min": 1.0, "max": 3.0}
    assert (OURS["n"], OURS["cpu_a_step"], OURS["tokens_a_step"]) == (2, 0.5, 10)
    assert (OURS["forward"], OURS["backward"], OURS["rest"]) == (0.5, 0.25, 0.25)


def test_a_row_has_success_and_what_neighbours_kept():
    rates = {key: OURS[key] for key in ("argmax", "likelier", "paraphrases", "neighbours")}
    assert rates == {"argmax": 0.5, "likelier": 1.0, "paraphrases": 0.0, "neighbours": 0.5}


def test_ratios_are_theirs_over_ours():
    assert ratios(OURS, THEIRS) == {"method": "rome", "cpu": 5.0, "wall": 5.0, "cpu_a_step": 5.0, "peak": 1.0}


def test_an_edit_without_steps_has_no_time_a_step():
    words = row("ike", "ours", answer(edit(1.0, steps=0, tokens=0)))
    assert words["cpu_a_step"] is None
    assert ratios(words, THEIRS)["cpu_a_step"] is None


def test_what_is_not_known_is_a_dash_and_spreads_are_written_out():
    text = markdown([OURS, THEIRS], COLUMNS).splitlines()
    assert len({line.count("|") for line in text}) == 1
    assert "2.00 (1.00 to 3.00)" in text[2]
    assert "2.0 (1.0 to 3.0)" in text[2]
    assert " - |" in text[3]
    assert markdown([ratios(OURS, THEIRS)], RATIOS).splitlines()[2] == "| rome | 5.0 | 5.0 | 5.0 | 1.0 |"


def test_nothing_spent_is_no_share():
    assert row("none", "ours", answer(edit(0.0)))["forward"] == 0
