"""What the processes of a run agree on, however they were launched, before they are joined."""

from __future__ import annotations

import itertools
import json
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

from ..distributed import gather_objects, rank, world_size
from ..errors import ConfigError, ConfigProblem

_PREFIX = "SESEMI_LIKE_"
"""Begins the environment variables that pass on what the first process has decided."""

_TIMEOUT = timedelta(minutes=5)
_exchanges = itertools.count()


@dataclass(frozen=True)
class _Peers:
    """Where processes that were launched apart find each other."""

    address: str
    port: int
    rank: int
    count: int


def agree(
    name: str, decide: Callable[[], Any], *, key: str, advice: str = "", num_nodes: int = 1
) -> Any:
    """Has the first process of a run decide something, and tells all the others.

    Processes that Lightning launches later find it in the environment that they inherit. All
    processes call this in the same order.

    Args:
        name: What it is, as a part of an environment variable's name: ``SEED``.
        decide: Returns a value that JSON can hold; called by the first process alone.
        key: The config key that it is about, for messages.
        advice: What a person can do where the others cannot be reached, as a sentence fragment.
        num_nodes: `run.num_nodes`.

    Raises:
        ConfigError: What `decide` raises, on every process; or if the others cannot be reached.
    """
    if world_size() > 1:  # a further run of processes that have been joined
        own = _outcome(decide) if rank() == 0 else ""
        return _value(gather_objects(own)[0])
    environment = _launch_environment()
    is_launched_here = isinstance(environment, LightningEnvironment)
    if is_launched_here and environment.local_rank() > 0 and _PREFIX + name in os.environ:
        return json.loads(os.environ[_PREFIX + name])
    peers = _peers(environment, num_nodes)
    if peers is None:
        value = decide()
    else:
        try:
            outcome = _exchange(peers, decide)
        except RuntimeError as error:  # also what torch raises at a timeout
            reason = str(error).strip().splitlines()[0]
            expected = f"no {name.lower().replace('_', ' ')} could be agreed on with the other "
            expected += f"processes ({reason}){advice and f'; {advice}'}"
            raise ConfigError([ConfigProblem(key, None, expected)]) from error
        value = _value(outcome)
    os.environ[_PREFIX + name] = json.dumps(value)
    return value


def _outcome(decide: Callable[[], Any]) -> str:
    """What was decided, or why that was not possible, as JSON."""
    try:
        return json.dumps({"value": decide()})
    except ConfigError as error:
        problems = [[p.key, str(p.value), p.expected] for p in error.problems]
        return json.dumps({"problems": problems})


def _value(outcome: str) -> Any:
    content = json.loads(outcome)
    if "problems" in content:
        raise ConfigError(ConfigProblem(*problem) for problem in content["problems"])
    return content["value"]


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


def _exchange(peers: _Peers, decide: Callable[[], Any]) -> str:
    """Has the first process decide, and send the outcome to the others."""
    store = dist.PrefixStore(_exchange_name(), _store(peers))
    if peers.rank > 0:
        received: bytes = store.get("outcome")
        store.set(f"received by {peers.rank}", "")
        return received.decode()
    outcome = _outcome(decide)
    store.set("outcome", outcome)
    store.wait([f"received by {rank}" for rank in range(1, peers.count)])
    return outcome


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
