"""Where the shipped models are, installed or in a checkout."""

from pathlib import Path

import pytest

from csgate import shipped
from csgate.errors import ModelError


def test_a_checkout_reads_them_in_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "src" / "csgate" / "shipped.py"))
    assert shipped.models_dir() == tmp_path / "models"


def test_an_installation_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    inside = tmp_path / "src" / "csgate" / "_models"
    inside.mkdir(parents=True)
    monkeypatch.setattr(shipped, "__file__", str(inside.parent / "shipped.py"))
    assert shipped.models_dir() == inside


def test_without_any_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "src" / "csgate" / "shipped.py"))
    with pytest.raises(ModelError, match="no models in it"):
        shipped.models_dir()
