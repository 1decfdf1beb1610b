"""No module of the package needs, by whatever chain of imports, itself."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import edit_robustness

ROOT = Path(edit_robustness.__file__).parents[1]


def imports() -> dict[str, set[str]]:
    """Return for each module those that it imports, also inside functions."""
    names = {}
    for path in (ROOT / "edit_robustness").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {}
    for module, path in names.items():
        targets = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                targets |= {f"{node.module}.{entry.name}" for entry in node.names} & names.keys() or {node.module}
            elif isinstance(node, ast.Import):
                targets |= {entry.name for entry in node.names}
        graph[module] = targets & names.keys()
    return graph


def test_no_modules_import_each_other():
    graph = imports()
    assert len(graph) > 200
    # raises a CycleError with the modules
    TopologicalSorter(graph).prepare()
