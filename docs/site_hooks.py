"""MkDocs hooks: pages of the repository's root and an example report become pages of the site."""

import json
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)*(?:README\.md|LICENSE|notebooks/[^)]*|data/[^)]*)\)")
"""Links to files that are not on the site; their text stays."""
RUNS = ROOT / "data" / "08_reporting"
EXAMPLE, EXAMPLE_PAGE = "example/report.html", "tutorial/example-report.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root."""
    for source, target in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, target, content=text))
    if report := find_example(RUNS):
        folder = Path(EXAMPLE).parent
        for path in [report, *report.parent.glob("*.csv")]:
            files.append(File.generated(config, str(folder / path.name), abs_src_path=str(path)))
    return files


def find_example(runs: Path) -> Path | None:
    """Return the report of the last run of `study`; None if there is none."""
    records = [(path.parent / "report.html", json.loads(path.read_text("utf-8"))) for path in runs.glob("*-*/run.json")]
    reports = [report for report, record in records if record["pipeline"] == "study" and report.exists()]
    return max(reports, key=lambda report: report.parent.name, default=None)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files outside of the documentation to their pages on the site, or leave only their text."""
    up = "../" * page.file.src_uri.count("/")
    for source, target in PAGES.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{re.escape(source)}", f"]({up}{target}", markdown)
    if page.file.src_uri == EXAMPLE_PAGE and files.get_file_from_path(EXAMPLE):
        markdown += f"\n[Open the example report]({up}{EXAMPLE})\n"
    return OUTSIDE.sub(r"\1", markdown)
