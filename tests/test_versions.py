"""Old files must not outlive a change of the code that made them.

When one of these tests fails, decide: may any edit, answer or other kept file come out differently? Then raise the
room's number in `versions.py`, so that old files are recomputed, and run `python tests/reference/rooms.py`. If every
result stays (a renaming, say), run it with `--same-results ROOM`.
"""

import json

import pytest
import rooms

from edit_robustness.versions import ROOMS, ROOMS_OF_FILES, libraries


@pytest.mark.parametrize("room", rooms.current())
def test_the_code_of_a_room_does_not_change_without_its_number(room):
    record, state = json.loads(rooms.RECORDED.read_text(encoding="utf-8")), rooms.current()
    assert state[room] == record[room], __doc__


def test_comments_docstrings_and_lines_are_no_change_and_code_is():
    source = 'def rate():\n    """Return it."""\n    return 3  # percent\n'
    assert rooms.meaning(source) == rooms.meaning("def rate():\n    return (\n        3)\n")
    assert rooms.meaning(source) != rooms.meaning(source.replace("3", "9"))


def test_a_room_is_changed_where_its_code_is_another_and_its_number_is_not():
    before = {"editing": {"version": 1, "code": "a"}}
    assert rooms.changed(before, {"editing": {"version": 1, "code": "b"}}) == ["editing"]
    assert rooms.changed(before, {"editing": {"version": 2, "code": "b"}}) == []


def test_every_kept_file_names_the_rooms_that_decide_it():
    assert set(ROOMS_OF_FILES["answers"]) == {"text", "models", "prompts", "editing", "asking", "pipelines"}
    assert set().union(*ROOMS_OF_FILES.values()) == {*rooms.ROOMS, "pipelines"}
    assert {room: state["version"] for room, state in rooms.current().items()} == ROOMS
    assert set(libraries()) == {"torch", "transformers"}
