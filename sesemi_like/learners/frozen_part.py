"""The part of a classifier that is frozen, whose answer for each sample may be computed once.

Shapes: N rows of a batch, D features.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..errors import ConfigError, ConfigProblem
from ..models.ema import EMATeacher
from ..models.freezing import is_frozen
from ..models.heads.loss.requests import Fields, Forward
from ..models.networks import Networks
from .checkpoints.frozen import digest_of

_POLICIES: tuple[Literal["update", "batch", "eval"], ...] = ("update", "batch", "eval")
"""What is frozen normalizes by its running statistics under all of them."""

FEATURES = "frozen_features"
"""The part of a field that holds its features: ``weak.frozen_features`` are those of ``weak``."""


@dataclass(frozen=True)
class FrozenPart:
    """A frozen backbone, in a classifier and in the teachers that average it.

    What it answers for a field is a field itself, which then answers all requests for the first
    one through these networks but for what follows the backbone.

    Attributes:
        networks: The names of the networks that have it, the classifier first; each is a
            :class:`~sesemi_like.models.networks.ClassificationNetwork` or averages one.
        draws: How many draws of a random view are kept.
        key: The config key that asks for it.
    """

    networks: tuple[str, ...]
    draws: int
    key: str

    def given(self, fields: Fields) -> dict[Forward, str | Forward]:
        """The requests that features answer, see :meth:`LearnerDefinition.given`.

        Args:
            fields: The field names of every loader.
        """
        found: dict[Forward, str | Forward] = {}
        names = [f"{loader}.{name}" for loader, offered in fields.items() for name in offered]
        for features in (name for name in names if name.endswith(f".{FEATURES}")):
            field = features.removesuffix(f".{FEATURES}")
            for network in self.networks:
                for norm in _POLICIES:
                    rest = Forward(features, f"{network}.of_features", norm=norm)
                    found[Forward(field, network, norm=norm)] = rest
                    found[Forward(field, f"{network}.backbone", norm=norm)] = features
        return found

    def backbone(self, networks: Networks) -> nn.Module:
        """The backbone: a batch field to features (N, D)."""
        found: nn.Module = networks.module(self.networks[0]).backbone  # type: ignore[assignment]
        return found

    def check_frozen(self, networks: Networks) -> None:
        """Checks that the backbone does not learn, and that its features are all that is read.

        Args:
            networks: The learner's networks.

        Raises:
            ConfigError: If some of it does, or a loss head reads its maps.
        """
        if getattr(networks.module(self.networks[0]), "answers_maps", False):
            expected = "a loss head reads the maps of the backbone, which are not kept: give its "
            expected += "key freeze: true, with which that head reads features; or null here"
            raise ConfigError([ConfigProblem(self.key, self.draws, expected)])
        if not is_frozen(self.backbone(networks)):
            expected = "needs a backbone that does not learn: give its key freeze: true, or a "
            expected += "learner.hparams.trainable that names nothing of it"
            raise ConfigError([ConfigProblem(self.key, self.draws, expected)])

    def settings(self, networks: Networks) -> list[str]:
        """All that features depend on beside the data: weights, layers and their code.

        Args:
            networks: The learner's networks, with the weights of the run.

        Raises:
            ConfigError: If a teacher's backbone has other weights.
        """
        backbone = self.backbone(networks)
        tensors = backbone.state_dict()
        for name in self.networks[1:]:
            teacher: Any = networks.module(name)
            assert isinstance(teacher, EMATeacher)
            others = teacher.module.backbone.state_dict()  # type: ignore[union-attr]
            if not all(torch.equal(tensors[key], others[key]) for key in tensors):
                expected = f"the backbone of {name!r} has other weights than that of "
                expected += f"{self.networks[0]!r}: run.pretrained_checkpoint_path needs {{path, "
                expected += "prefix, into} that loads the latter alone; or give null here"
                raise ConfigError([ConfigProblem(self.key, self.draws, expected)])
        return [digest_of(tensors, tensors), repr(backbone), code_of(backbone.modules())]


def code_of(objects: Iterable[Any]) -> str:
    """A digest of the source files of the classes of objects, as far as there are such files.

    Args:
        objects: The objects, or functions.
    """
    digest = hashlib.sha256()
    for path in sorted({*_source_files(objects)}):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _source_files(objects: Iterable[Any]) -> Iterator[str]:
    for found in objects:
        with suppress(TypeError, OSError):  # of what is built in, or typed on a command line
            kind = found if inspect.isfunction(found) else type(found)
            path = inspect.getsourcefile(kind)
            if path is not None and Path(path).is_file():
                yield path
