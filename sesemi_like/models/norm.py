"""What BatchNorm does in one call of a network: with running statistics, and to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, ref

from torch import nn

from .ema import EMATeacher
from .freezing import is_frozen

POLICIES = ("update", "batch", "eval")
"""``update``: as the mode says, in training the batch's statistics, which move the running ones;
``batch``: in training the batch's, and the running ones stay; ``eval``: the running ones."""

_BATCH_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,
    nn.LazyBatchNorm1d, nn.LazyBatchNorm2d, nn.LazyBatchNorm3d,
)  # fmt: skip
_INSTANCE_NORMS = (
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.LazyInstanceNorm1d, nn.LazyInstanceNorm2d, nn.LazyInstanceNorm3d,
)  # fmt: skip
_NORMS = (*_BATCH_NORMS, *_INSTANCE_NORMS)

_State = tuple[Any, ...]
"""`training` and `track_running_stats`, and of InstanceNorm the running mean and variance."""


@dataclass(frozen=True)
class _Listed:
    """The normalization layers of a module, and where the first was; weak, to keep none alive."""

    layers: list[ref[nn.Module]]
    parent: ref[nn.Module]
    name: str

    @property
    def is_current(self) -> bool:
        """Whether the first is in place: SyncBatchNorm, for example, replaces all at once."""
        return not self.layers or getattr(self.parent(), self.name, None) is self.layers[0]()


_listed: WeakKeyDictionary[nn.Module, _Listed] = WeakKeyDictionary()
_outside: dict[nn.Module, _State] = {}
"""How each layer was before the outermost policy that it is under now."""


@contextmanager
def batch_norm(module: nn.Module, policy: str) -> Iterator[None]:
    """Sets what normalization layers with running statistics do; all else keeps its mode.

    Policies may be nested: the innermost holds, and starts from how the layers were outside of all.
    A layer in evaluation mode within a network that trains is frozen, and goes on with its running
    statistics. So does every layer of an EMA teacher, but under ``batch`` while training those that
    are not frozen: published Mean Teacher and ICT normalize their teacher's rows so.

    Args:
        module: The network that is called inside.
        policy: One of :data:`POLICIES`. InstanceNorm, whose statistics are always those of each
            sample, keeps its running ones under ``batch`` and reads them under ``eval``.

    Raises:
        ValueError: If there is no such policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"norm: found {policy!r}; must be one of {', '.join(POLICIES)}")
    if policy == "update" and not _outside:
        yield
        return
    layers = _norm_layers(module)
    before = [_state(layer) for layer in layers]
    outermost = [layer for layer in layers if layer not in _outside]
    _outside.update((layer, _state(layer)) for layer in outermost)
    is_teacher = isinstance(module, EMATeacher) and module.training and module.mode == "eval"
    try:
        for layer in layers:
            _set(layer, _state_under(policy, layer, is_teacher=is_teacher))
        yield
    finally:
        for layer, state in zip(layers, before, strict=True):
            _set(layer, state)
        for layer in outermost:
            del _outside[layer]


def sees_batch(module: nn.Module, policy: str = "update") -> bool:
    """Whether rows of a call depend on each other, or move statistics, by a normalization layer.

    Args:
        module: The network that is called.
        policy: One of :data:`POLICIES`.
    """
    with batch_norm(module, policy):
        return any(map(_mixes_or_moves, _norm_layers(module)))


def has_norms(module: nn.Module) -> bool:
    """Whether a module has layers that a policy makes a difference to."""
    return bool(_norm_layers(module))


def _norm_layers(module: nn.Module) -> list[nn.Module]:
    """The normalization layers in a module, found once for as long as they are in place."""
    if isinstance(module, _NORMS):
        return [module]
    listed = _listed.get(module)
    if listed is None or not listed.is_current:
        listed = _listed[module] = _list(module)
    return [layer for reference in listed.layers if (layer := reference()) is not None]


def _list(module: nn.Module) -> _Listed:
    found = module.named_modules()
    names: dict[nn.Module, str] = {part: name for name, part in found if isinstance(part, _NORMS)}
    parent, _, name = next(iter(names.values()), "").rpartition(".")
    return _Listed([*map(ref, names)], ref(module.get_submodule(parent)), name)


def _state(layer: nn.Module) -> _State:
    values = vars(layer)  # setting attributes of modules, and reading buffers, takes ten times this
    mode = values["training"], values["track_running_stats"]
    return mode if isinstance(layer, _BATCH_NORMS) else (*mode, *_statistics(layer))


def _statistics(layer: nn.Module) -> _State:
    return layer.running_mean, layer.running_var


def _state_under(policy: str, layer: nn.Module, *, is_teacher: bool) -> _State:
    outside = _outside[layer]
    if policy == "eval":
        return (False, *outside[1:])
    if policy == "update" or not (outside[0] or (is_teacher and not is_frozen(layer))):
        return outside
    # BatchNorm leaves statistics alone that it does not track; InstanceNorm would move them.
    return (True, False, *[None for _ in outside[2:]])


def _set(layer: nn.Module, state: _State) -> None:
    vars(layer).update(training=state[0], track_running_stats=state[1])
    if len(state) > 2:
        layer.running_mean, layer.running_var = state[2:]


def _mixes_or_moves(layer: nn.Module) -> bool:
    """Whether a layer computes with statistics of the whole batch, or keeps them."""
    if layer.running_mean is None:
        return isinstance(layer, _BATCH_NORMS)
    return layer.training
