"""The tutorial notebook runs as it stands, and shows what it says it shows."""

from __future__ import annotations

import copy

import nbformat
import pytest
from nbclient import NotebookClient

from .conftest import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def written():
    return nbformat.read(TUTORIAL, as_version=4)


def shown(notebook):
    """What each code cell printed and returned."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found.append((cell.source, [outcome(one) for one in cell.outputs]))
    return found


def outcome(output):
    """The part of an output that a reader sees."""
    if output.output_type == "stream":
        return output.name, output.text
    assert output.output_type == "execute_result", output
    data = output.data
    return "result", data.get("text/html") or data["text/plain"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_tutorial_runs_and_shows_what_is_stored(written, tmp_path):
    fresh = copy.deepcopy(written)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(fresh, timeout=60, kernel_name="python3", resources=where).execute()
    assert shown(fresh) == shown(written)


def test_tutorial_is_stored_as_it_was_run(written):
    nbformat.validate(written)
    counts = [cell.execution_count for cell in written.cells if "outputs" in cell]
    assert counts == list(range(1, len(counts) + 1))
    assert any(source.count("await ") for source, _ in shown(written))


def test_tutorial_shows_tables_and_no_secret(written):
    text = TUTORIAL.read_text(encoding="utf-8")
    tables = [o for _, outs in shown(written) for _, o in outs if "<table>" in o]
    assert len(tables) >= 6
    assert "secret" not in "".join(tables)
    assert "Traceback" not in text
