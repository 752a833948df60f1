"""What a learner defines: its networks, its losses, and what of it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl

from ..config.choices import on_or_off
from ..config.facts import DataFacts
from ..config.headline import Headline
from ..errors import ConfigProblem
from ..models.heads.loss.base import Fields, Forward
from ..models.heads.loss.requests import Given
from ..models.networks import Networks
from .averages import Average
from .frozen_part import FrozenPart
from .predicted import Columns, leaves_of
from .terms import LossTerm


class LearnerDefinition(pl.LightningModule):
    """The methods that a learner overrides; all that the engine does with them is in `base`.

    Attributes:
        settings: The hyperparameters, as plain values.
        networks: The networks, once they are built.
    """

    settings: dict[str, Any]
    networks: Networks

    key = "learner.hparams"
    """The config key of the hyperparameters, for messages."""

    @property
    def num_classes(self) -> int | None:
        """How many classes labels may be of, or None where the learner distinguishes none."""
        return None

    @property
    def labeled_loader(self) -> str | None:
        """The train loader whose classes are those of the run, if several have labels."""
        return None

    def problems(self, facts: DataFacts) -> list[ConfigProblem]:
        """Finds hyperparameters that do not fit the data.

        Like :attr:`num_classes` and :attr:`labeled_loader` it is asked before networks are built,
        so that all mistakes are reported at once: `self.settings` is all there is by then.

        Args:
            facts: What is known of the data.
        """
        return []

    def build_networks(self) -> Networks:
        """Builds the networks that requests can go through, from `self.settings`."""
        raise NotImplementedError(f"{type(self).__name__} must build its networks")

    def build_terms(self) -> dict[str, LossTerm]:
        """Builds the weighted loss heads by name, from `self.settings`."""
        raise NotImplementedError(f"{type(self).__name__} must build its loss terms")

    def evaluated_forwards(self) -> dict[str, Forward]:
        """Names what is evaluated, the headline last; data are fields of the val loader."""
        return {}

    def averages(self) -> dict[str, Average]:
        """Names the EMA teachers that the engine builds beside the networks, and what of.

        By default those of `self.settings["teachers"]`: ``{name: {network, decay, ...}}``.
        """
        key, teachers = f"{self.key}.teachers", self.settings.get("teachers") or {}
        return {n: Average.of(t, f"{key}.{n}") for n, t in teachers.items() if t is not None}

    def predicted_columns(self, outputs: Mapping[str, Any]) -> Columns:
        """Names what is written of predictions where `run.predict.outputs` chooses nothing.

        The default is every part of the output that is evaluated last.

        Args:
            outputs: The evaluated outputs of a batch by name, at least the last of them.

        Returns:
            Columns by name: tensors (N, ...), :class:`~sesemi_like.learners.predicted.Labelled`
            ones, or lists of N texts.
        """
        if not outputs:
            return {}
        last = list(outputs)[-1]
        return leaves_of({last: outputs[last]})

    def averaged_networks(self) -> dict[str, str]:
        """Names each EMA teacher and the network it averages: ``{"teacher": "classifier"}``.

        A learner that builds teachers itself names them here.
        """
        return {name: average.network for name, average in self.averages().items()}

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Names functions without parameters that requests may go through, as through a network.

        Such as mixing two batches or fusing states: ``{"mix": mix_rows}`` makes
        ``Forward(("a.image", "b.image"), "mix")`` possible. One with a parameter `generator` is
        given a seeded generator on the CPU.
        """
        return {}

    @property
    def frozen_part(self) -> FrozenPart | None:
        """What of the networks is run once for each sample; None runs all of them in each step."""
        return None

    def given(self, fields: Fields) -> Given:
        """Names the requests that a batch field already answers, such as cached latents.

        Args:
            fields: The field names of every train loader; of evaluated data those of their one
                loader, whatever it is called, so that loaders are best gone through.

        Returns:
            ``{request: full name of the field}``: such a request is read and not run. One that a
            field answers in part is answered by another request, for the rest of the way:
            ``{Forward("a.image"): Forward("a.features", "classifier.of_features")}``.
        """
        return {}

    @property
    def headline(self) -> Headline | None:
        """The figure that a run is judged by; None is ``val/loss``, or else ``train/loss``.

        Like :attr:`num_classes` it is asked before networks are built.
        """
        return None

    @property
    def forward_setting(self) -> str:
        """How rows for one network are run: auto | separate | joined | together.

        `auto` joins rows only where that changes nothing but speed (see :mod:`.joining`), and if a
        trial on the first batch finds it faster. `together` joins those without gradients as well.
        """
        return str(self.settings.get("forward") or "auto")

    @property
    def rows_setting(self) -> str:
        """Whether rows that weigh nothing are left out of a forward: auto | on | off.

        `auto` leaves them out only where that changes nothing but speed (see :mod:`.left_out`), and
        if a trial on the first batch finds it faster.
        """
        return str(on_or_off(self.settings.get("rows", "auto")))
