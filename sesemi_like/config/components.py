"""Classes as choices of config groups: those of torch and Lightning, and a person's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import ConfigError, ConfigProblem
from .signatures import class_parameters, exported_names

Target = TypeVar("Target", bound=Callable[..., Any])

SCHEME = "signatures"


@dataclass(frozen=True)
class Group:
    """A config group whose choices are classes.

    Attributes:
        package: The key that a choice is placed at.
        given: Parameters that the program fills in, which are no keys.
        module: The module whose classes are choices, or None where only own ones are.
        left_out: Names of that module that are no choices: base classes, and what cannot be built
            here.
        below: The key, below `package`, that holds the class.
    """

    package: str
    given: frozenset[str] = frozenset()
    module: str | None = None
    left_out: frozenset[str] = frozenset()
    below: str | None = None


_MODEL, _HPARAMS = "learner.hparams.model", "learner.hparams"

GROUPS: dict[str, Group] = {
    "backbone": Group(f"{_MODEL}.backbone"),
    "head": Group(f"{_MODEL}.head", frozenset({"in_features", "out_features"})),
    "learner": Group("learner", frozenset({"hparams", "facts"})),
    "loss": Group(
        f"{_MODEL}.supervised_loss.callable",
        module="torch.nn.modules.loss",
        left_out=frozenset({"NLLLoss2d"}),  # deprecated
    ),
    "lr_scheduler": Group(
        f"{_HPARAMS}.lr_scheduler",
        frozenset({"optimizer"}),
        "torch.optim.lr_scheduler",
        frozenset({"LRScheduler"}),
        below="scheduler",
    ),
    "optimizer": Group(
        f"{_HPARAMS}.optimizer", frozenset({"params"}), "torch.optim", frozenset({"Optimizer"})
    ),
    "sampler": Group(
        "sampler",
        frozenset({"data_source"}),
        "torch.utils.data.sampler",
        # Those but the last take something else in place of a data set.
        frozenset({"BatchSampler", "SubsetRandomSampler", "WeightedRandomSampler", "Sampler"}),
    ),
    "trainer/callbacks": Group(
        "trainer.callbacks",
        module="pytorch_lightning.callbacks",
        left_out=frozenset(
            {"BaseFinetuning", "BasePredictionWriter", "Callback", "Checkpoint", "ProgressBar"}
        ),
    ),
    "trainer/logger": Group(
        "trainer.logger", module="pytorch_lightning.loggers", left_out=frozenset({"Logger"})
    ),
}
"""The groups that know where their choices belong; any other is placed at its own path."""

REGISTERED: dict[str, dict[str, str]] = {}
"""A person's own choices: the path of each class or function by group and name."""


@overload
def register(group: str, name: str | None = None) -> Callable[[Target], Target]: ...
@overload
def register(group: str, name: str | None, target: Target) -> Target: ...
def register(group: str, name: str | None = None, target: Any = None) -> Any:
    """Offers a class or function as a choice of a config group, with its defaults as keys.

    As a decorator, ``@register("backbone")`` above a class makes ``backbone=ClassName`` a choice.
    A parameter without a default is a key that needs a value.

    Args:
        group: The group, one of :data:`GROUPS`, or the path that its choices are placed at, such
            as ``data/tokenizer``; ``group@key: name`` in a defaults list places one elsewhere.
        name: The choice; None is the name of the class or function.
        target: The class or function; None returns a decorator for one.

    Returns:
        The class or function, unchanged, or the decorator.

    Raises:
        ConfigError: If another class has this name in the group, or it is no class or function
            that can be imported.
    """
    if target is None:
        return lambda decorated: register(group, name, decorated)
    return _register(group, name or target.__name__, target)


def _register(group: str, name: str, target: Target) -> Target:
    path = f"{target.__module__}.{target.__qualname__}"
    if "<locals>" in path:
        expected = "is defined inside a function, where no config can find it"
        raise ConfigError([ConfigProblem(f"register({group!r})", path, expected)])
    own = REGISTERED.setdefault(group, {})
    if own.get(name, path) != path:
        expected = f"the group {group!r} has {name!r} already: {own[name]}; give another name"
        raise ConfigError([ConfigProblem(f"register({group!r}, {name!r})", path, expected)])
    own[name] = path
    known = GROUPS.get(group)
    content = _content(path, _own_parameters(target), known)
    ConfigStore.instance().store(
        name, content, group, known.package if known else None, provider=target.__module__
    )
    return target


def _own_parameters(target: Callable[..., Any]) -> dict[str, Any]:
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: MISSING if parameter.default is inspect.Parameter.empty else parameter.default
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind not in several and _is_plain(parameter.default)
    }


def _is_plain(default: Any) -> bool:
    """Whether a default can stand in a config."""
    if default is inspect.Parameter.empty:
        return True
    try:
        OmegaConf.create({"value": default})
    except OmegaConfBaseException:
        return False
    return True


def _content(target: str, parameters: Mapping[str, Any], group: Group | None) -> dict[str, Any]:
    given = group.given if group else frozenset()
    keys = {name: value for name, value in parameters.items() if name not in given}
    content = {"_target_": target, **keys}
    return {group.below: content} if group and group.below else content


def choices_of(group: str) -> list[str]:
    """The classes of other libraries that are choices of a group, sorted; nothing is imported."""
    known = GROUPS.get(group)
    if known is None or known.module is None:
        return []
    names = set(exported_names(known.module)) - known.left_out
    return sorted(name for name in names if name[0].isupper())


def library_choices() -> dict[str, list[str]]:
    """The classes of other libraries by the group whose choices they are."""
    return {group: names for group in GROUPS if (names := choices_of(group))}


class Signatures(ConfigSource):
    """Has Hydra find classes of torch and Lightning as configs, made from their signatures."""

    @staticmethod
    def scheme() -> str:
        """What its path begins with."""
        return SCHEME

    def available(self) -> bool:
        """It is always there."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Whether a path is that of a group.

        What it lies in is none: `trainer=null` is about the section, not a choice.
        """
        return config_path.strip("/") in _made()

    def is_config(self, config_path: str) -> bool:
        """Whether a path is that of a choice."""
        group, name = _group_and_name(config_path)
        return name in choices_of(group)

    def load_config(self, config_path: str) -> ConfigResult:
        """Makes the config of a choice."""
        group, name = _group_and_name(config_path)
        known = GROUPS[group]
        parameters = class_parameters(str(known.module), name)
        content = _content(f"{_public_module(known)}.{name}", parameters or {}, known)
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=OmegaConf.create(content),
            header={"package": known.package},
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Lists the choices and groups under a path."""
        path = config_path.strip("/")
        groups = {_next_part(g, path) for g in _made() if g != path and _is_below(g, path)}
        configs = choices_of(path)
        if results_filter == ObjectType.GROUP:
            return sorted(groups)
        return configs if results_filter == ObjectType.CONFIG else sorted({*groups, *configs})


def _group_and_name(config_path: str) -> tuple[str, str]:
    group, _, name = config_path.removesuffix(".yaml").strip("/").rpartition("/")
    return group, name


def _made() -> list[str]:
    return [name for name, group in GROUPS.items() if group.module is not None]


def _is_below(group: str, path: str) -> bool:
    return not path or group.startswith(f"{path}/")


def _next_part(group: str, path: str) -> str:
    return group.removeprefix(f"{path}/" if path else "").split("/")[0]


def _public_module(group: Group) -> str:
    """The module that people import these classes from."""
    named = {"torch.nn.modules.loss": "torch.nn", "torch.utils.data.sampler": "torch.utils.data"}
    return named.get(str(group.module), str(group.module))
