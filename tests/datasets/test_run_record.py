import json

from fabricated_edits import corpus, method
from merging import SHORT, merging_model

from edit_robustness.datasets.folders import StoredItem
from edit_robustness.datasets.item_folders import EditsDataset
from edit_robustness.datasets.run_record import context_use, count_unmet, run_record
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.records import Fact

OTHER = Fact("P36-other", "Borduria", "P36", "{} is the seat of", "Szohod", "Oslo")


def test_contexts_that_could_not_be_used_are_counted_in_the_file_and_in_the_record(tmp_path):
    lm, memit = merging_model(dropped_text=". Qu"), method("memit")
    artefact = Artefact(memit.prepare(lm, corpus()).tensors, ("It rained. ", "A bell rang, ", "It snowed. "))
    folder = EditsDataset(str(tmp_path))
    folder.save({"both": StoredItem.of("f", memit.edit(lm, [SHORT, OTHER], artefact=artefact), seconds=1.0)})
    edits = folder.items()
    assert edits["both"].header["origin"]["unused_contexts"] == {SHORT.id: 2}
    assert edits["both"].read().origin.unused_contexts == {SHORT.id: 2}
    record = run_record(lm, {"memit": memit.settings()}, {"memit": edits, "none": {}}, ["torch"])
    use = {"facts": 2, "contexts": 6, "unused": 2, "facts_short": 1}
    assert record["contexts"] == {lm.name: {"memit": use, "none": None}}
    assert json.loads(json.dumps(record)) == record
    twice = context_use({"0.2": edits["both"], "1.2": edits["both"]})
    assert twice == {"facts": 2, "contexts": 12, "unused": 4, "facts_short": 1}


def test_a_method_without_contexts_counts_none(lab):
    edit = method("ft").edit(lab.model("llama"), [OTHER])
    assert context_use({"x": StoredItem.of("f", edit, origin=edit.origin.plain())}) is None


def test_environments_and_files_of_another_version_are_counted(lab):
    lm = lab.model("llama")
    place = StoredItem.of("f", None, seconds=1.0, environment=lm.environment)
    stale = StoredItem.of("g", None, stale=True, environment={**lm.environment, "device": "H200"})
    record = run_record(lm, {}, {}, [], [{"a": place, "b": place, "c": stale, "d": StoredItem.failed_item("h", "no")}])
    assert record["environments"] == {
        lm.name: [
            {"device": "cpu", "dtype": "float32", "items": 2},
            {"device": "H200", "dtype": "float32", "items": 1},
        ]
    }
    assert record["stale"] == {lm.name: {"items": 3, "stale": 1}}


def test_optimisations_that_used_up_their_steps_are_counted(lab):
    facts = [OTHER, SHORT]
    origins = [
        {"facts": ["a"], "settings": {"v_stop_loss": 0.1}, "unmet_losses": {}},
        {"facts": ["b", "c"], "settings": {"v_stop_loss": 0.1}, "unmet_losses": {"c": 0.4}},
        # of a version that did not record it
        {"facts": ["d"], "settings": {"v_stop_loss": 0.1}},
    ]
    folder = {str(n): StoredItem.of("f", None, origin=origin) for n, origin in enumerate(origins)}
    assert count_unmet(folder) == {"facts": 3, "unmet": 1, "stop_loss": 0.1}
    assert count_unmet({"2": folder["2"]}) is None
    lm = lab.model("llama")
    for name, settings in (("ft", {"stop_loss": 1e-6, "steps": 2}), ("grace", {"stop_loss": 1e-6, "steps": 2})):
        edit = method(name, **settings).edit(lm, facts[:1])
        item = StoredItem.of("f", edit, origin=edit.origin.plain())
        assert count_unmet({"x": item}) == {"facts": 1, "unmet": 1, "stop_loss": 1e-6}
        edit = method(name, **settings | {"stop_loss": 0.0}).edit(lm, facts[:1])
        assert count_unmet({"x": StoredItem.of("f", edit, origin=edit.origin.plain())}) is None
        edit = method(name, stop_loss=50.0).edit(lm, facts[:1])
        assert edit.origin.unmet_losses == {}
