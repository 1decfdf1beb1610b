"""The recipes of CONTRIBUTING.md, read from the page and applied to a copy of the project."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

STEP = re.compile(
    r"^(?P<how>New file|Add at the end of|Add to the imports of|Add (?:to|before|under) `(?P<name>\w+)` in) "
    r"`(?P<path>[^`]+)`:\n\n```\w+\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ROW = re.compile(r"^\| (an? [^|]+?) \| (\d+) \| (\d+) \|$", re.MULTILINE)
SECTIONS = {
    "a method": "Add a method",
    "a kind of prompt": "Add a kind of prompt",
    "a metric": "Add a metric",
    "a feature of facts": "Add a feature",
    "a data set format": "Add a data set",
    "a model architecture": "Add a model",
}
"""Counts in the page's table, and the section that shows how to add each."""


@dataclass(frozen=True)
class Step:
    """One change that a recipe asks for."""

    how: str
    name: str | None
    path: str
    text: str

    def apply(self, project: Path) -> None:
        """Make the change."""
        file = project / self.path
        if self.how == "New file":
            assert not file.exists(), f"{self.path} is not new"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text, encoding="utf-8")
            return
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        at, text = self._place(lines)
        file.write_text("".join([*lines[:at], text, *lines[at:]]), encoding="utf-8")

    def _place(self, lines: list[str]) -> tuple[int, str]:
        """Return before which line the text belongs, and the text as it is indented there."""
        if self.how == "Add at the end of":
            return len(lines), f"\n\n{self.text}"
        if self.how.startswith("Add under"):
            at = next(i for i, line in enumerate(lines) if line.strip() == f"{self.name}:") + 1
            return at, indent(self.text, re.match(" *", lines[at])[0])
        tree = ast.parse("".join(lines))
        if self.how == "Add to the imports of":
            return max(n.end_lineno for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)), self.text
        statement = next(node for node in tree.body if self.name in _names(node))
        if self.how.startswith("Add before"):
            return statement.lineno - 1, f"{self.text}\n\n"
        # the closing bracket of a dict or tuple of several lines stands on a line of its own
        first = next(node for node in ast.walk(statement.value) if isinstance(node, ast.Dict | ast.Tuple))
        element = first.keys[0] if isinstance(first, ast.Dict) else first.elts[0]
        return first.end_lineno - 1, indent(f"{self.text.rstrip()},\n", " " * element.col_offset)


def _names(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def recipes(page: str) -> dict[str, list[Step]]:
    """Return the steps of each recipe."""
    parts = dict(part.split("\n", 1) for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:])
    return {
        topic: [Step(m["how"], m["name"], m["path"], m["text"]) for m in STEP.finditer(parts[title])]
        for topic, title in SECTIONS.items()
    }


def read_promise(page: str) -> dict[str, tuple[int, int]]:
    """Return how many files with code and how many YAML files the page says that each recipe touches."""
    return {topic: (int(code), int(settings)) for topic, code, settings in ROW.findall(page)}


def count_files(steps: list[Step]) -> tuple[int, int]:
    """Return how many files with code and how many YAML files the steps touch."""
    paths = {step.path for step in steps}
    return sum(path.endswith(".py") for path in paths), sum(path.endswith(".yml") for path in paths)
