"""The classifier: maps its config words to the networks and loss terms of the base learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..config.choices import on_or_off
from ..config.facts import DataFacts
from ..config.headline import Headline
from ..config.instantiate import instantiate
from ..errors import ConfigProblem, Problems
from ..models.heads.linear import LinearHead
from ..models.heads.loss import SupervisedLossHead
from ..models.heads.loss.base import Fields, Forward, LossHead
from ..models.heads.loss.parts import INTERPOLATE, interpolate_logits
from ..models.heads.loss.requests import Given
from ..models.networks import ClassificationNetwork, Networks
from ..views.image_inputs import Inputs
from .averages import Average
from .base import Learner
from .evaluated_layers import AS_LOGITS, as_logits, evaluated_layers
from .frozen_part import FrozenPart
from .more_networks import add_networks
from .predicted import Columns, Labelled
from .terms import LossTerm


class Classifier(Learner):
    """Classifies with a backbone and a head, from a supervised and any number of further losses.

    Networks: `classifier`, whose output is ``{"features": (N, D), "logits": (N, C)}``; `backbone`,
    another name for it; `teacher`, its EMA, when `model.ema` is given; and those of
    `model.networks` and `model.teachers`. Evaluated are `model` (the classifier) and `ema` (the
    teacher), which gives the headline figure when there is one, and the layers of
    `model.evaluated`.

    Args:
        hparams: The values of `sesemi_like.config.structs.ClassifierHParams`.
    """

    @property
    def num_classes(self) -> int | None:
        """How many classes the logits are of; None where it is no number."""
        num_classes = self.settings.get("num_classes")
        return num_classes if isinstance(num_classes, int) else None

    @property
    def input_field(self) -> str:
        """The batch field that is learned and evaluated."""
        return str(self.settings["model"].get("input_field") or "image")

    @property
    def labeled_loader(self) -> str | None:
        """The train loader of the supervised loss."""
        loss = self.settings["model"].get("supervised_loss") or {}
        return str(loss.get("input_data", "supervised"))

    @property
    def headline(self) -> Headline:
        """The accuracy on the validation data."""
        return Headline("val/top1", "max", "top-1")

    def problems(self, facts: DataFacts) -> list[ConfigProblem]:
        """Finds fewer classes than the labels need.

        Args:
            facts: What is known of the data.
        """
        num_classes, needed = self.num_classes, facts.num_classes
        if num_classes is None or needed is None or needed <= num_classes:
            return []
        names = f": {', '.join(facts.classes[:20])}" if facts.classes else ""
        expected = f"the data have {needed} classes{names}"
        return [ConfigProblem(f"{self.key}.num_classes", num_classes, expected)]

    def build_networks(self) -> Networks:
        """Builds the classifier and the further networks of `model.networks`."""
        model = self.settings["model"]
        backbone = instantiate(model["backbone"], key=f"{self.key}.model.backbone")
        head, num_classes = self._build_head(backbone), self.settings["num_classes"]
        network = ClassificationNetwork(backbone, head, num_classes)
        networks = Networks({"classifier": network}, aliases={"backbone": "classifier"})
        key, sizes = f"{self.key}.model.networks", {"in_features": backbone.out_features}
        add_networks(networks, model.get("networks") or {}, key=key, **sizes)
        return networks

    def averages(self) -> dict[str, Average]:
        """The teacher of `model.ema`, which averages the classifier, and those of `teachers`."""
        key, model = f"{self.key}.model", self.settings["model"]
        averages = {}
        if ema := model.get("ema"):
            averages["teacher"] = Average("classifier", ema, f"{key}.ema")
        for name, config in (model.get("teachers") or {}).items():
            if config is not None:
                averages[name] = Average.of(config, f"{key}.teachers.{name}")
        return averages

    @property
    def forward_setting(self) -> str:
        """How rows for one network are run, from `model.forward`."""
        return str(self.settings["model"].get("forward") or "auto")

    @property
    def rows_setting(self) -> str:
        """Whether rows that weigh nothing are left out of a forward, from `model.rows`."""
        return str(on_or_off(self.settings["model"].get("rows", "auto")))

    def _build_head(self, backbone: Any) -> nn.Module:
        sizes = {
            "in_features": backbone.out_features,
            "out_features": self.settings["num_classes"],
        }
        head = self.settings["model"].get("head")
        if head is None:
            return LinearHead(**sizes)
        built: nn.Module = instantiate(head, key=f"{self.key}.model.head", **sizes)
        return built

    def build_terms(self) -> dict[str, LossTerm]:
        """Builds the supervised term and a term for each regularization loss head."""
        key, model = f"{self.key}.model", self.settings["model"]
        problems, terms = Problems(), {}
        for name, path, config in _term_configs(model, key):
            with problems.collecting():
                head = self._build_loss_head(config, path)
                terms[name] = LossTerm.from_config(config, head, key=path)
        problems.raise_if_any()
        return terms

    def _build_loss_head(self, config: dict[str, Any], key: str) -> LossHead:
        if "head" in config:
            head: LossHead = instantiate(config["head"], key=f"{key}.head")
            return head
        return SupervisedLossHead(
            instantiate(config["callable"], key=f"{key}.callable"),
            class_weights=config.get("class_weights"),
            input_data=config.get("input_data", "supervised"),
            input_field=self.input_field,
            views=config.get("views"),
            target=config.get("target", "target"),
            mask=instantiate(config.get("mask"), key=f"{key}.mask"),
            interpolated=config.get("interpolated", False),
            mixing=instantiate(config.get("mixing"), key=f"{key}.mixing"),
        )

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes by index, or None where the data have none."""
        return self.inputs.classes if self.inputs else None

    def forward(self, images: Tensor) -> Tensor:
        """Classifies images as validation does, by the EMA teacher if there is one.

        They are normalized, and whatever else the view `image` of `data.val` does, but not resized:
        give them the size that the network was evaluated on, ``classifier.inputs.shape``. Layers
        such as dropout follow the mode; `load_from_checkpoint` returns a classifier in evaluation
        mode. Gradients reach the images and a network that trains.

        Args:
            images: (N, C, H, W), uint8 in [0, 255] or floating point in [0, 1], on any device.

        Returns:
            Logits (N, num_classes), float32, on the classifier's device; ``classifier.classes``
            names the columns.

        Raises:
            ValueError: If the images have another shape, number of channels or type.
        """
        prepared = (self.inputs or Inputs()).prepared(images.to(self.device))
        through = str([*self.evaluated_forwards().values()][-1].through)
        logits: Tensor = self.networks[through](prepared)["logits"]
        return logits

    def evaluated_forwards(self) -> dict[str, Forward]:
        """Evaluates the layers of `model.evaluated`, the classifier and, last, its teacher."""
        layers = self.settings["model"].get("evaluated") or {}
        key = f"{self.key}.model.evaluated"
        evaluated = evaluated_layers(layers, self.input_field, self.networks, key=key)
        evaluated["model"] = Forward(self.input_field, "classifier", grad=False)
        if "teacher" in self.networks:
            evaluated["ema"] = Forward(self.input_field, "teacher", grad=False)
        return evaluated

    @property
    def frozen_part(self) -> FrozenPart | None:
        """The backbone, where `model.frozen_features` says so."""
        draws = self.settings["model"].get("frozen_features")
        if draws is None:
            return None
        averaged = self.averaged_networks().items()
        teachers = (n for n, of in averaged if self.networks.canonical(of) == "classifier")
        return FrozenPart(("classifier", *teachers), draws, f"{self.key}.model.frozen_features")

    def given(self, fields: Fields) -> Given:
        """Names what the features of a frozen backbone answer."""
        return {} if (part := self.frozen_part) is None else part.given(fields)

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Takes what a layer answers for logits, as evaluators do; draws logits between two."""
        layer_as_logits = partial(as_logits, num_classes=self.settings["num_classes"])
        return {AS_LOGITS: layer_as_logits, INTERPOLATE: interpolate_logits}

    def predicted_columns(self, outputs: Mapping[str, Any]) -> Columns:
        """Names the class of each row, its probability, and those of all classes.

        Args:
            outputs: The evaluated outputs of a batch; the teacher's count where there is one.

        Returns:
            `class` (N names, or numbers without names), `confidence` (N,) and `probability` (N, C).
        """
        logits: Tensor = outputs[list(outputs)[-1]]["logits"]
        probability = logits.float().softmax(dim=1)
        confidence, predicted = probability.max(dim=1)
        numbers = range(logits.shape[1])
        classes = self.classes or [str(number) for number in numbers]
        names = classes if len(classes) == len(numbers) else [str(number) for number in numbers]
        return {
            "class": [names[number] for number in predicted.tolist()],
            "confidence": confidence,
            "probability": Labelled(probability, names),
        }


def _term_configs(model: dict[str, Any], key: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields (name, config key, config) of every loss term that is not switched off."""
    if model.get("supervised_loss"):
        yield "supervised", f"{key}.supervised_loss", model["supervised_loss"]
    for name, config in (model.get("regularization_loss_heads") or {}).items():
        if config is not None:
            yield name, f"{key}.regularization_loss_heads.{name}", config
