"""The command line's output, and kedro-viz."""

import json
import re

from whole_run import kedro

from conftest import Project

COLUMNS = ("Efficacy", "Generalization (paraphrase)", "Specificity (neighbourhood)")


def test_the_main_job_prints_little_and_ends_with_the_report(whole_run):
    process, project = whole_run, Project(whole_run.folder)
    assert process.returncode == 0, process.stdout + process.stderr
    output = process.stdout + process.stderr
    # eight tokens of a random model name nothing, and a run says so once
    assert output.lower().count("warning") == len(re.findall(r"WARNING +tiny: \d+ of \d+ answers", output)) == 1, output
    assert process.stderr.strip() == ""
    lines = process.stdout.strip().splitlines()
    assert len(lines) < 100
    # one line per node, numbered, however long it is, and the time in the end
    table = next(number for number, line in enumerate(lines) if line.startswith("Method "))
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARNING) ", line) for line in lines[:table]), output
    assert re.split(r" {2,}", lines[table]) == ["Method", *(f"{n} [95%]" for n in COLUMNS)]
    figures = lines[table + 1 : -1]
    assert [line.split("  ")[0] for line in figures] == ["No edit", "Fact in context", "FT", "ROME", "IKE"]
    assert all(re.search(r"  \d+% \[\d+%, \d+%\]", line) for line in figures)
    nodes = [match.groups() for line in lines if (match := re.search(r" \[(\d+)/(\d+)\] (\S+)$", line))]
    assert [int(number) for number, _, _ in nodes] == list(range(1, len(nodes) + 1))
    assert {total for _, total, _ in nodes} == {str(len(nodes))}
    assert len({name for _, _, name in nodes}) == len(nodes)
    assert re.search(rf" {len(nodes)} nodes in \d+ s, \d+ CPU s \(.+, \d+ threads?(, oneDNN)?\)$", lines[table - 1])
    (log,) = (project.folder / "logs").glob("*.log")
    assert f"[1/{len(nodes)}] " in log.read_text()
    assert lines[-1] == f"Report: {(project.latest / 'report.html').resolve()}"


def test_kedro_viz_builds_a_site_with_previews(run_before):
    process = kedro(run_before.folder, "viz", "build", "--include-previews", KEDRO_ENV="test")
    assert process.returncode == 0, process.stdout + process.stderr
    output = process.stdout + process.stderr
    for bad in ("error", "deprecat", "exception", "cannot"):
        assert bad not in output.lower(), output
    api = run_before.folder / "build" / "api"
    graph = json.loads((api / "main").read_text())
    assert {"tiny", "tiny.rome", "tiny.ike"} <= set(graph["modular_pipelines"])
    assert graph["layers"][0] == "raw"
    assert graph["layers"][-1] == "reporting"
    previews = [
        json.loads((api / "nodes" / node["id"]).read_text()) for node in graph["nodes"] if node["type"] == "data"
    ]
    preview_types = {preview["preview_type"] for preview in previews if preview.get("preview")}
    assert {"TablePreview", "PlotlyPreview"} <= preview_types
