"""The headline: the figure that a run is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import ConfigProblem, suggest
from .choices import DIRECTIONS

_SPLITS = ("val", "train")
_MIN, _MAX = DIRECTIONS
_LESS_IS_BETTER = ("loss", "error", "perplexity")


@dataclass(frozen=True)
class Headline:
    """The figure that a run is judged by: its best checkpoint, its summary, a sweep's objective.

    Attributes:
        name: Its full name, such as ``val/loss``.
        direction: Whether the highest is the best, ``max``, or the lowest, ``min``.
        words: What it is called in reports.
    """

    name: str
    direction: str
    words: str

    @property
    def split(self) -> str:
        """What it is measured on: ``val`` or ``train``."""
        return self.name.partition("/")[0]

    @property
    def metric(self) -> str:
        """Its name without what it is measured on: ``loss``."""
        return self.name.partition("/")[2]

    def on(self, split: str) -> str:
        """The full name of the same metric on another split, such as ``test``."""
        return f"{split}/{self.metric}"

    def best(self, *values: float) -> float:
        """The best of some values, one at least."""
        return max(values) if self.direction == _MAX else min(values)

    def plain(self) -> dict[str, str]:
        """Its attributes by name, for ``summary.json``."""
        return asdict(self)


def default_headline(*, is_validated: bool) -> Headline:
    """The headline of a learner that names none.

    Args:
        is_validated: Whether validation measures a loss.
    """
    return Headline("val/loss" if is_validated else "train/loss", _MIN, "loss")


def chosen_headline(config: Any, own: Headline) -> Headline:
    """The headline of a run.

    Args:
        config: `run.headline`, checked: a name, a mapping, or None.
        own: That of its learner.
    """
    if config is None:
        return own
    content = {"name": config} if isinstance(config, str) else dict(config)
    name = content["name"]
    if name == own.name:
        content = {**own.plain(), **{k: v for k, v in content.items() if v is not None}}
    last = name.rpartition("/")[2]
    default = _MIN if last.endswith(_LESS_IS_BETTER) else _MAX
    return Headline(name, content.get("direction") or default, content.get("words") or last)


def headline_problems(config: Any) -> Iterator[ConfigProblem]:
    """Checks `run.headline`.

    Args:
        config: Its value, of any type.
    """
    if config is None:
        return
    content: Any = OmegaConf.to_container(config) if isinstance(config, DictConfig) else config
    if isinstance(content, str):
        content = {"name": content}
    if not isinstance(content, Mapping):
        expected = "needs a name such as val/loss, or a mapping of name, direction and words"
        yield ConfigProblem("run.headline", config, expected)
        return
    for key in content:
        if key not in ("name", "direction", "words"):
            known = suggest(str(key), ("name", "direction", "words"), noun="keys")
            yield ConfigProblem(f"run.headline.{key}", content[key], f"no such key; {known}")
    name, direction = content.get("name"), content.get("direction")
    split, _, metric = str(name).partition("/")
    if split not in _SPLITS or not metric:
        expected = "needs the name of a figure of validation or training, such as val/loss"
        yield ConfigProblem("run.headline", name, expected)
    if direction is not None and direction not in DIRECTIONS:
        expected = suggest(str(direction), DIRECTIONS, noun="choices")
        yield ConfigProblem("run.headline.direction", direction, expected)


def sweep_problem(headline: Headline, sweeper: Mapping[str, Any]) -> ConfigProblem | None:
    """Finds a sweeper that looks for the worst run.

    Args:
        headline: The headline, which a run returns to the sweeper.
        sweeper: The section `hydra.sweeper`; those of Optuna, Nevergrad and Ax say what they want.
    """
    for key, value, direction in _directions(sweeper):
        if direction != headline.direction:
            better = "higher" if headline.direction == _MAX else "lower"
            expected = f"a run returns {headline.name}, which is better the {better} it is"
            return ConfigProblem(key, value, f"{expected}; choose the other, or run.headline")
    return None


def _directions(sweeper: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """The key that says which runs a sweeper looks for, its value, and the direction it means."""
    direction = str(sweeper.get("direction") or "").rpartition(".")[2]
    if direction in ("minimize", "maximize"):
        yield "hydra.sweeper.direction", direction, direction[:3]
    optim = sweeper.get("optim") or {}
    if "maximize" in optim:
        value = optim["maximize"]
        yield "hydra.sweeper.optim.maximize", value, _MAX if value else _MIN
    experiment = (sweeper.get("ax_config") or {}).get("experiment") or {}
    if "minimize" in experiment:
        value = experiment["minimize"]
        yield "hydra.sweeper.ax_config.experiment.minimize", value, _MIN if value else _MAX
