"""A folder whose plugins import no torch, so that the child that describes them is there in a tenth of the time."""

import pytest

from tests.conftest import Project


@pytest.fixture
def project(project: Project) -> Project:
    """The folder without the plugin `tiny`."""
    (project.folder / "plugins" / "tiny.py").unlink()
    return project
