"""Free memory: what the machine has, within control groups."""

from pathlib import Path

import psutil

from sesemi_like.data.cache.memory import free_memory


def group(path: Path, limit: int | str, used: int, cached: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.max").write_text(f"{limit}\n")
    (path / "memory.current").write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 7\n")


def test_limits_of_control_groups_are_kept_to(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/job/step\n")
    group(tmp_path / "fs" / "job" / "step", "max", 90, 0)
    group(tmp_path / "fs" / "job", 1000, 700, 50)
    assert free_memory(own, tmp_path / "fs") == 350
    group(tmp_path / "fs" / "job" / "step", 200, 190, 0)
    assert free_memory(own, tmp_path / "fs") == 10


def test_without_limits_it_is_what_the_machine_has(tmp_path: Path) -> None:
    found = free_memory(tmp_path / "none", tmp_path)
    assert 0.5 < found / psutil.virtual_memory().available < 2
