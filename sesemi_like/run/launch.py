"""What the processes of a run agree on before they are joined: its seed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.lsf import LSFEnvironment
from lightning_fabric.plugins.environments.mpi import MPIEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed.rendezvous import rendezvous

from ..distributed import gather_objects, world_size
from ..errors import ConfigError, ConfigProblem

_SEED = "SESEMI_LIKE_SEED"
"""Tells the processes that Lightning launches which seed the first one has drawn."""

_PATIENCE = timedelta(minutes=5)
_questions = itertools.count()

_Meeting = tuple[str, int, int, int]
"""Where processes that were launched apart find each other: address, port, own number, count."""


def choose_seed(given: int | None, *, resumed: str | None = None, num_nodes: int = 1) -> int:
    """Settles the seed of a run, the same on all of its processes however they were launched.

    Args:
        given: `run.seed`, or None to draw one.
        resumed: The checkpoint that the run goes on from, whose seed is taken instead of a new one.
        num_nodes: `run.num_nodes`.

    Raises:
        ConfigError: If one is to be drawn and the other processes cannot be reported.
    """
    if given is not None:
        return given
    if world_size() > 1:  # a further run of processes that have been joined
        return gather_objects(_drawn(resumed))[0]
    environment = _environment()
    is_launched_here = isinstance(environment, LightningEnvironment)
    if is_launched_here and environment.local_rank() > 0 and _SEED in os.environ:
        return int(os.environ[_SEED])
    meeting = _meeting(environment, num_nodes)
    seed = _drawn(resumed) if meeting is None else _told(meeting, lambda: _drawn(resumed))
    os.environ[_SEED] = str(seed)
    return seed


def _drawn(resumed: str | None) -> int:
    noted = _noted(resumed) if resumed else None
    return int.from_bytes(os.urandom(4), "big") if noted is None else noted


def _noted(path: str) -> int | None:
    """The seed of the run that wrote a checkpoint; whether that can be read is checked later."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(content["DataModule"]["seed"])
    except Exception:
        return None


def _environment() -> ClusterEnvironment:
    """How this process was launched, as Lightning is going to see it."""
    known = (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment)
    found = next((kind for kind in known if kind.detect()), LightningEnvironment)
    return found()


def _meeting(environment: ClusterEnvironment, num_nodes: int) -> _Meeting | None:
    """Where the processes meet, or None for a process that launches all others itself."""
    number, count = environment.global_rank(), environment.world_size()
    if isinstance(environment, LightningEnvironment):  # whose first process of a node is by hand
        number, count = environment.node_rank(), num_nodes
    if count == 1:
        return None
    return environment.main_address, environment.main_port, number, count


def _told(meeting: _Meeting, draw: Callable[[], int]) -> int:
    """Has the first process draw, and tells the others."""
    *_, number, count = meeting
    try:
        store = dist.PrefixStore(_question(), _store(*meeting))  # type: ignore[attr-defined]
        if number > 0:
            seed = int(store.get("seed"))
            store.set(f"heard by {number}", "")
            return seed
        seed = draw()
        store.set("seed", str(seed))
        store.wait([f"heard by {other}" for other in range(1, count)])
        return seed
    except RuntimeError as error:  # also what torch raises when nobody returns
        reason = str(error).strip().splitlines()[0]
        expected = f"no seed could be agreed on with the other processes ({reason}); give one"
        raise ConfigError([ConfigProblem("run.seed", None, expected)]) from error


def _question() -> str:
    """A name for what is asked now that every process finds, and that is used once."""
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return f"sesemi_like/{attempt}/{next(_questions)}"


@lru_cache  # kept, because the first process's end of it is what returns the others
def _store(address: str, port: int, number: int, count: int) -> Any:
    url = f"tcp://{address}:{port}"
    store, *_ = next(rendezvous(url, rank=number, world_size=count, timeout=_PATIENCE))
    return store
