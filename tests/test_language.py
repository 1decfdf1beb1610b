"""Names are nouns, and docstrings start with a verb or a noun and name what exists, so that a reader is not stopped."""

import ast
import builtins
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import edit_robustness

SOURCE = Path(edit_robustness.__file__).parent
ROOT = Path(__file__).parents[1]
ALLOWED_SHARES = {"src": 0.004, "benchmarks": 0.004, "tests": 0.008}
"""Shares of local names that may be participles or pronouns, as some terms of the field are (`left` factor, `run`)."""

PRONOUNS = (
    "own one ones other others there here all each both it those these this that what which who some any every "
    "everything something nothing same now then whole rest few many more most less such another neither they"
)
PARTICIPLES = (
    "found said kept held made written given taken drawn left told known shown sent seen built gone done chosen spoken "
    "broken lost met put meant brought thought caught hidden thrown bound led paid understood won read run come become "
    "heard cut split spread unread unchanged untouched"
)
NOUNS = (
    "seed need speed feed bed embed reed string wording setting heading encoding embedding padding spelling warning "
    "ending opening rounding ordering ranking mapping timing spacing thing pairing training bearing rating listing "
    "grouping routing binding building meaning ceiling drawing sampling scoring substring docstring indexing smoothing "
    "decoding nesting tokenizing"
)
"""Nouns that end like participles."""

NO_VERB = re.compile(
    r"(What|See|The|An?|Whether|How|Where|Which|Who|When|Why|One|All|Each|Every|Those|These|This|That|It|No|None|Only|"
    r"Its|Their|For|In|On|By|From|To|Of|With|Without|As|At|If|And|Or|Not)\b"
)
SECTION = re.compile(r"(\w[\w ]*):$")
ENTRY = re.compile(r" {4}(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \(.*?\))?:")


def read_trees(folder: Path) -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))}


def read_definitions(node: ast.AST) -> Iterator[ast.AST]:
    """Collect a module and its classes and functions; no expression is visited, which takes a fifth of the time."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield from read_definitions(child)


TREES = read_trees(SOURCE)
FOLDERS = {"src": TREES, **{name: read_trees(ROOT / name) for name in ("benchmarks", "tests")}}
DEFINITIONS = {
    folder: [(path.relative_to(ROOT), node) for path, tree in trees.items() for node in read_definitions(tree)]
    for folder, trees in FOLDERS.items()
}


def is_no_noun(name: str) -> bool:
    word = name.strip("_")
    if not (word.isalpha() and word.islower()) or word in NOUNS.split():
        return False
    ending = (word.endswith("ed") and len(word) > 3) or (word.endswith("ing") and len(word) > 4)
    return ending or word in [*PRONOUNS.split(), *PARTICIPLES.split()]


def local_names(node: ast.AST, names: set[str] | None) -> Iterator[set[str]]:
    """Collect the names that each function binds; fields of classes and constants of modules are not among them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner: set[str] = set()
            yield from local_names(child, inner)
            yield inner
            continue
        if names is not None and isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            names.add(child.id)
        elif names is not None and isinstance(child, ast.arg) and child.arg not in ("self", "cls"):
            names.add(child.arg)
        yield from local_names(child, None if isinstance(child, ast.ClassDef) else names)


@pytest.mark.parametrize(
    ("name", "is_flagged"),
    [("found", True), ("edited", True), ("asking", True), ("each", True), ("answers", False), ("seed", False)],
)
def test_a_participle_or_a_pronoun_is_no_noun(name, is_flagged):
    assert is_no_noun(name) is is_flagged


@pytest.mark.parametrize("folder", FOLDERS)
def test_local_names_are_nouns(folder):
    names = [
        (path.relative_to(ROOT), name)
        for path, tree in FOLDERS[folder].items()
        for function_names in local_names(tree, None)
        for name in function_names
    ]
    flagged_names = [f"{path}: {name}" for path, name in names if is_no_noun(name)]
    assert len(flagged_names) <= ALLOWED_SHARES[folder] * len(names), flagged_names


def test_docstrings_of_functions_start_with_a_verb():
    functions = ((path, node) for path, node in DEFINITIONS["src"] if not isinstance(node, ast.Module | ast.ClassDef))
    assert [f"{path}: {node.name}" for path, node in functions if NO_VERB.match(ast.get_docstring(node) or "")] == []


def attribute_docstrings(node: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Collect the strings below assignments."""
    for first, second in pairwise(node.body):
        value = second.value if isinstance(second, ast.Expr) else None
        is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
        if is_text and isinstance(first, ast.Assign | ast.AnnAssign):
            yield value.value


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_of_modules_classes_and_attributes_start_with_a_noun(folder):
    docstrings = [
        (path, text)
        for path, node in DEFINITIONS[folder]
        if isinstance(node, ast.Module | ast.ClassDef)
        for text in (ast.get_docstring(node) or "", *attribute_docstrings(node))
    ]
    assert [f"{path}: {text[:80]}" for path, text in docstrings if re.match(r"(What|Whatever|See)\b", text)] == []


def described_names(docstring: str, sections: tuple[str, ...] = ("Args", "Attributes")) -> Iterator[str]:
    """Collect the names that some sections describe."""
    section = ""
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            header = SECTION.match(line)
            section = header[1] if header else ""
        elif section in sections and (entry := ENTRY.match(line)):
            yield from entry["names"].replace("*", "").split(", ")


def defined_names(node: ast.AST) -> set[str]:
    """Collect the arguments of a function, or the fields, attributes and constructor's arguments of a class."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {child.arg for child in ast.walk(node.args) if isinstance(child, ast.arg)}
    names: set[str] = set()
    for child in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            names.add(child.target.id)
        elif isinstance(child, ast.FunctionDef):
            stores = (n for n in ast.walk(child) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
            names |= {child.name, *(store.attr for store in stores)}
            names |= defined_names(child) if child.name == "__init__" else set()
    return names


@pytest.mark.parametrize("folder", ["src", "benchmarks"])
def test_docstrings_describe_arguments_and_fields_that_exist(folder):
    unknown_names = [
        f"{path}: {getattr(node, 'name', 'module')}: {name}"
        for path, node in DEFINITIONS[folder]
        for name in described_names(ast.get_docstring(node) or "")
        if name not in defined_names(node)
    ]
    assert unknown_names == []


def test_docstrings_name_errors_that_exist():
    names = {*dir(builtins), "DatasetError", "PydanticCustomError", "PydanticSerializationError"}
    for tree in TREES.values():
        names |= {child.name for child in tree.body if isinstance(child, ast.ClassDef)}
    unknown_names = [
        f"{path}: {getattr(node, 'name', 'module')}: {name}"
        for path, node in DEFINITIONS["src"]
        for name in described_names(ast.get_docstring(node) or "", ("Raises",))
        if name not in names
    ]
    assert unknown_names == []


def test_rules_are_stated_with_must():
    paths = [
        *(path for folder in FOLDERS for path, _ in DEFINITIONS[folder] if path != Path(__file__).relative_to(ROOT)),
        *(
            path.relative_to(ROOT)
            for pattern in ("*.md", "docs/**/*.md", "conf/**/*.yml")
            for path in ROOT.glob(pattern)
        ),
    ]
    assert [
        str(path) for path in dict.fromkeys(paths) if re.search(r"\bshall\b", (ROOT / path).read_text("utf-8"))
    ] == []
