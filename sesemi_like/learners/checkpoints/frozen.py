"""`save_frozen: false`: what did not train is left out of checkpoints, and had from its source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import ConfigError, ConfigProblem, as_yaml
from . import tensor_names

if TYPE_CHECKING:
    from ..base import Learner

KEY = "frozen"
"""The key of a checkpoint that says what was left out of it."""


@dataclass(frozen=True)
class FrozenSource:
    """The identity of tensors that are left out of checkpoints.

    They are rebuilt with the networks, from the settings that the checkpoint holds, or read from
    the weights that the run began with.

    Attributes:
        names: Their names in the learner's state dict.
        digest: The SHA-256 of their names, types, shapes and values.
        given: `run.pretrained_checkpoint_path` of the run, for what came from there; else None.
        copies: What EMA teachers hold of them: the name of each, and of what it is equal to.
    """

    names: list[str]
    digest: str
    given: Any = None
    copies: Mapping[str, str] = field(default_factory=dict)

    @property
    def every_name(self) -> list[str]:
        """The names of all that is left out."""
        return [*self.names, *self.copies]


def digest_of(tensors: Mapping[str, Tensor], names: Iterable[str]) -> str:
    """The SHA-256 of tensors with their names, types and shapes.

    Args:
        tensors: The tensors by name, on any device.
        names: Those that count, in any order.
    """
    found = hashlib.sha256()
    for name in sorted(names):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def frozen_names(learner: Learner) -> list[str]:
    """The parameters of a learner's networks that do not train and follow no average."""
    averages = tensor_names.tensors_of(learner, learner.averaged_networks())
    return [
        name
        for name, parameter in learner.named_parameters()
        if name.startswith("networks.") and not parameter.requires_grad and name not in averages
    ]


def find_source(
    learner: Learner, rebuilt: Learner, loaded: Iterable[str], given: Any
) -> FrozenSource | None:
    """Finds what checkpoints may leave out: what does not train and can be had again.

    Args:
        learner: A learner that is about to train.
        rebuilt: Another one of the same settings, built with other random numbers: what is the
            same in both does not depend on them.
        loaded: The names of tensors that came from `given`.
        given: `run.pretrained_checkpoint_path`, as plain values.

    Returns:
        The source; None where nothing can be left out.
    """
    own, other, from_file = learner.state_dict(), rebuilt.state_dict(), set(loaded)
    names = [n for n in frozen_names(learner) if n in from_file or torch.equal(own[n], other[n])]
    if not names:
        return None
    copies = _copies(learner, own, set(names))
    return FrozenSource(sorted(names), digest_of(own, names), given if from_file else None, copies)


def _copies(learner: Learner, own: Mapping[str, Tensor], names: set[str]) -> dict[str, str]:
    """What EMA teachers hold of frozen tensors, which no average moves."""
    paths = {id(module): f"{name}." for name, module in learner.named_modules()}
    found: dict[str, str] = {}
    for teacher, source in learner.averaged_networks().items():
        average: Any = learner.networks.module(teacher)
        to, of = paths[id(average.module)], paths[id(learner.networks.module(source))]
        pairs = {to + name.removeprefix(of): name for name in names if name.startswith(of)}
        found |= {c: name for c, name in pairs.items() if torch.equal(own[c], own[name])}
    return found


def leave_out(checkpoint: dict[str, Any], source: FrozenSource) -> None:
    """Takes the frozen tensors out of a checkpoint and notes their identity.

    Args:
        checkpoint: What is about to be saved.
        source: The identity.
    """
    left_out = set(source.every_name)
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {n: tensor for n, tensor in state.items() if n not in left_out}
    checkpoint[KEY] = asdict(source)


def source_in(checkpoint: Mapping[str, Any]) -> FrozenSource | None:
    """What was left out of a checkpoint; None where it holds everything."""
    found = checkpoint.get(KEY)
    return FrozenSource(**found) if isinstance(found, Mapping) else None


def complete(learner: Learner, checkpoint: dict[str, Any]) -> None:
    """Puts into a checkpoint what was left out of it, and has later ones leave it out again.

    Args:
        learner: A learner built with its initial weights.
        checkpoint: What was read; its tensors have the names of today.

    Raises:
        ConfigError: If the source is gone, or other weights are there now.
    """
    source = source_in(checkpoint)
    if source is not None:
        found = frozen_tensors(learner, source)
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **found}
        learner.frozen = source


def frozen_tensors(learner: Learner, source: FrozenSource) -> dict[str, Tensor]:
    """The tensors that were left out of a checkpoint, from their source.

    Args:
        learner: A learner built with its initial weights.
        source: Their identity.

    Raises:
        ConfigError: If the source is gone, or other weights are there now.
    """
    own = learner.state_dict()
    if source.given is not None and not _is_of(source, own):
        from .reading import Checkpoint  # which imports this module

        given = Checkpoint.read(source.given, key=f"{learner.key}.save_frozen")
        own = {**own, **tensor_names.beside_adapters(own, given.tensors)}
    if not _is_of(source, own):
        origin = as_yaml(source.given) if source.given else "the settings of its networks"
        expected = f"a checkpoint was saved without its {len(source.names)} frozen tensors, and "
        lacking = [name for name in source.names if name not in own]
        expected += (
            f"this model has none of the name {lacking[0]} ({len(lacking)} in all)"
            if lacking
            else f"{origin} gives others now, whose SHA-256 differs"
        )
        raise ConfigError([ConfigProblem(f"{learner.key}.save_frozen", False, expected)])
    found = {name: own[name].detach() for name in source.names}
    return found | {copy: found[name] for copy, name in source.copies.items()}


def _is_of(source: FrozenSource, tensors: Mapping[str, Tensor]) -> bool:
    is_there = all(name in tensors for name in source.names)
    return is_there and digest_of(tensors, source.names) == source.digest
