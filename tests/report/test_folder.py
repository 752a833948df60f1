"""A run's folder: its name, and that no run takes another's."""

from datetime import datetime
from pathlib import Path

from sesemi_like.report import make_run_folder


def test_named_after_the_time_and_never_shared(tmp_path: Path) -> None:
    time = datetime(2026, 1, 2, 3, 4, 5)
    folders = [make_run_folder(str(tmp_path / "runs"), "pets", time=time) for _ in range(3)]
    stamp = "2026-01-02_03-04-05"
    assert [f.name for f in folders] == [stamp, f"{stamp}-2", f"{stamp}-3"]
    assert all(f.parent == tmp_path / "runs" / "pets" for f in folders)
