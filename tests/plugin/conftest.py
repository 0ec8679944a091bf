"""Fixtures: projects of users, and the processes that they must not leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import missing
from projects import Project

from seqcache.testing import _server


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project; its temporary files are in a folder of its own."""
    temporary = tmp_path / "t"
    temporary.mkdir()
    (tmp_path / "p").mkdir()
    return Project(tmp_path / "p", {"TMPDIR": str(temporary)})


@pytest.fixture
def live_project(project: Project) -> Project:
    """A project on a machine with a server program."""
    try:
        _server.find_program()
    except _server.NoServerError as why:
        missing(str(why))
    return project
