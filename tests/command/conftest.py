"""What tests of commands share."""

import pytest


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    """The current folder, from which parts of a user's own are imported too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path
