"""Records the code of the rooms that decide what kept files hold, each with its number in `versions.py`.

python tests/reference/rooms.py                        after numbers were raised
python tests/reference/rooms.py --same-results ROOM    after a change that leaves every result as it was
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
from pathlib import Path

from edit_robustness import versions

PACKAGE = Path(versions.__file__).parent
RECORDED = Path(__file__).with_name("rooms.json")
ROOMS = ("text", "models", "prompts", "editing", "asking", "speakers", "abilities")
FILLING = ("edit", "prior_knowledge", "evaluate", "sequence", "conversation", "abilities", "rephrase", "parity")
"""Pipelines with nodes that fill folders."""
SHARED = ("workers/answers", "datasets/sequences")
"""Modules that hold what several of these nodes do."""


def files(room: str) -> list[Path]:
    """Return the modules of a room."""
    if room == "pipelines":
        paths = [path for name in FILLING for path in (PACKAGE / room / name).rglob("*.py")]
        paths += [PACKAGE / f"{name}.py" for name in SHARED]
        return sorted(path for path in paths if path.name not in ("pipeline.py", "gather.py", "__init__.py"))
    return sorted((PACKAGE / room).rglob("*.py"))


def code(paths: list[Path]) -> str:
    """Return a hash of modules that stays when only docstrings, comments or the layout of lines change."""
    trees = [(path.relative_to(PACKAGE).as_posix(), meaning(path.read_text(encoding="utf-8"))) for path in paths]
    return hashlib.blake2b(repr(trees).encode(), digest_size=16).hexdigest()


def meaning(source: str) -> str:
    """Return the syntax tree of a module without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not _is_text(statement)] or [ast.Pass()]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def current() -> dict[str, dict[str, object]]:
    """Return for each room its number and its code."""
    rooms = (*ROOMS, "pipelines")
    return {room: {"version": getattr(versions, room.upper()), "code": code(files(room))} for room in rooms}


def changed(record: dict, state: dict) -> list[str]:
    """Return the rooms whose code changed while their number did not."""
    return [
        room
        for room, about in state.items()
        if about["code"] != record.get(room, about)["code"] and about["version"] == record[room]["version"]
    ]


def main() -> None:
    """Write `rooms.json`, unless a room's code changed and nobody has said whether results do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--same-results", nargs="*", default=[], metavar="ROOM", choices=[*ROOMS, "pipelines"])
    same_results = parser.parse_args().same_results
    record = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    state = current()
    if open_rooms := [room for room in changed(record, state) if room not in same_results]:
        raise SystemExit(
            f"the code of {', '.join(open_rooms)} changed: raise the number in src/edit_robustness/versions.py if any "
            f"result may differ, or give --same-results {' '.join(open_rooms)}"
        )
    RECORDED.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
