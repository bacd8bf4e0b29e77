from __future__ import annotations

import pytest

from worker.__main__ import main


def test_a_wrong_setting_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["worker"])
    monkeypatch.setenv("DARKROOM_LOG_LEVEL", "loud")

    assert main() == 2
    assert capsys.readouterr().err.startswith("The worker does not start:\nDARKROOM_LOG_LEVEL: Input should be ")
