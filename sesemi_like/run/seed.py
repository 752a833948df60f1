"""The seed that the processes of a run agree on before they are joined."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

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
from ..models.weights import read_metadata

_SEED = "SESEMI_LIKE_SEED"
"""Passes the seed that the first process has drawn to those that Lightning launches."""

_TIMEOUT = timedelta(minutes=5)
_exchanges = itertools.count()


@dataclass(frozen=True)
class _Peers:
    """Where processes that were launched apart find each other."""

    address: str
    port: int
    rank: int
    count: int


def choose_seed(given: int | None, *, resumed: str | None = None, num_nodes: int = 1) -> int:
    """Chooses the seed of a run, the same on all of its processes however they were launched.

    Args:
        given: `run.seed`, or None to draw one.
        resumed: The checkpoint that is resumed from, whose seed is taken instead of a new one.
        num_nodes: `run.num_nodes`.

    Raises:
        ConfigError: If one is to be drawn and the other processes cannot be reached.
    """
    if given is not None:
        return given
    if world_size() > 1:  # a further run of processes that have been joined
        return gather_objects(_draw_seed(resumed))[0]
    environment = _launch_environment()
    is_launched_here = isinstance(environment, LightningEnvironment)
    if is_launched_here and environment.local_rank() > 0 and _SEED in os.environ:
        return int(os.environ[_SEED])
    peers = _peers(environment, num_nodes)
    seed = _draw_seed(resumed) if peers is None else _exchange(peers, lambda: _draw_seed(resumed))
    os.environ[_SEED] = str(seed)
    return seed


def _draw_seed(resumed: str | None) -> int:
    seed = _seed_in_checkpoint(resumed) if resumed else None
    return int.from_bytes(os.urandom(4), "big") if seed is None else seed


def _seed_in_checkpoint(path: str) -> int | None:
    """The seed of the run that wrote a checkpoint; whether that can be read is checked later."""
    try:
        return int(read_metadata(path)["DataModule"]["seed"])
    except Exception:
        return None


def _launch_environment() -> ClusterEnvironment:
    """How this process was launched, as Lightning is going to detect it."""
    kinds = (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment)
    return next((kind for kind in kinds if kind.detect()), LightningEnvironment)()


def _peers(environment: ClusterEnvironment, num_nodes: int) -> _Peers | None:
    """Where the processes meet, or None for a process that launches all others itself."""
    rank, count = environment.global_rank(), environment.world_size()
    if isinstance(environment, LightningEnvironment):  # one process of each node by hand
        rank, count = environment.node_rank(), num_nodes
    if count == 1:
        return None
    return _Peers(environment.main_address, environment.main_port, rank, count)


def _exchange(peers: _Peers, draw: Callable[[], int]) -> int:
    """Has the first process draw, and send its seed to the others."""
    try:
        store = dist.PrefixStore(_exchange_name(), _store(peers))
        if peers.rank > 0:
            seed = int(store.get("seed"))
            store.set(f"received by {peers.rank}", "")
            return seed
        seed = draw()
        store.set("seed", str(seed))
        store.wait([f"received by {rank}" for rank in range(1, peers.count)])
        return seed
    except RuntimeError as error:  # also what torch raises at a timeout
        reason = str(error).strip().splitlines()[0]
        expected = f"no seed could be agreed on with the other processes ({reason}); give one"
        raise ConfigError([ConfigProblem("run.seed", None, expected)]) from error


def _exchange_name() -> str:
    """A name for this exchange that every process finds, and that is used once."""
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return f"sesemi_like/{attempt}/{next(_exchanges)}"


@lru_cache  # kept, because the store of the first process is what serves the others
def _store(peers: _Peers) -> Any:
    url = f"tcp://{peers.address}:{peers.port}"
    rank, count = peers.rank, peers.count
    store, *_ = next(rendezvous(url, rank=rank, world_size=count, timeout=_TIMEOUT))
    return store
