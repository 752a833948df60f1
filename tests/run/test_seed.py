"""The seed of a run: given, drawn anew for every run, and the same on all processes of one."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from processes import in_processes

from sesemi_like.run.seed import choose_seed

LAUNCHERS = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "NODE_RANK", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LAUNCHERS, "SESEMI_LIKE_SEED"):
        monkeypatch.delenv(name, raising=False)


def test_a_given_seed_is_kept() -> None:
    assert choose_seed(7) == 7


@pytest.mark.parametrize("launch", [{}, {"SLURM_JOB_ID": "3"}, {"LOCAL_RANK": "0"}])
def test_every_run_draws_anew(monkeypatch: pytest.MonkeyPatch, launch: Any) -> None:
    for name, value in launch.items():  # also as an earlier run of a sweep has left them
        monkeypatch.setenv(name, value)
    assert len({choose_seed(None) for _ in range(3)}) == 3


def test_processes_that_lightning_launches_take_the_seed_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = choose_seed(None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_seed(None) == drawn


def test_without_a_checkpoint_that_can_be_read_one_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"no checkpoint")
    seeds = {choose_seed(None, resumed=str(tmp_path / name)) for name in ("x.ckpt", "none.ckpt")}
    assert len(seeds) == 2


def note(rank: int, folder: Path) -> None:
    (folder / str(rank)).write_text(f"{choose_seed(None)} {choose_seed(None)}")


def test_processes_that_were_launched_apart_agree_on_one(tmp_path: Path) -> None:
    in_processes(note, tmp_path)
    first, second = ((tmp_path / str(rank)).read_text().split() for rank in range(2))
    assert first == second
    assert first[0] != first[1]


def note_of_node(rank: int, folder: Path) -> None:
    node = {"NODE_RANK": str(rank), "LOCAL_RANK": "0"}
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "GROUP_RANK"):
        os.environ.pop(name)
    os.environ |= node
    (folder / str(rank)).write_text(str(choose_seed(None, num_nodes=2)))


def test_nodes_whose_first_processes_are_started_by_hand_agree_on_one(tmp_path: Path) -> None:
    in_processes(note_of_node, tmp_path)
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text()


PROGRAM = """
import os
import pathlib
import sys
import torch.distributed as dist
from sesemi_like.run.seed import choose_seed

seeds = [choose_seed(None)]
dist.init_process_group("gloo")  # as Lightning does, at the same port
seeds.append(choose_seed(None))
pathlib.Path(sys.argv[1], os.environ["RANK"]).write_text(str(seeds))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_of_torchrun_agree_on_one_for_every_run(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    subprocess.run([*torchrun, tmp_path / "program.py", tmp_path], check=True, timeout=120)
    first, second = (json.loads((tmp_path / rank).read_text()) for rank in "01")
    assert first == second
    assert first[0] != first[1]
    assert zlib.crc32(b"none") not in first  # torchrun's id of every run
