"""The kinds of data set by name, and the factory that builds one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import hydra
from torch.utils.data import Dataset

from ..errors import ConfigError, ConfigProblem, suggest
from .conversion import as_samples
from .row_choice import choose_rows
from .samples import Samples
from .splits import choose_part
from .streams import StreamedSamples

_KEYS_OF_ALL = frozenset(
    {"name", "root", "subset", "image_transform", "on_error", "cache", "cache_side"}
)

Builder = Callable[..., "Dataset[Any]"]

BUILDERS: dict[str, Builder] = {}
"""The registered kinds of data set, and what builds them."""

_ROW_KEYS = frozenset(inspect.signature(choose_rows).parameters) - {"samples"}
_PART_KEYS = frozenset(inspect.signature(choose_part).parameters) - {"samples"}
_SEEDS = ("row_seed", "label_seed")


def register_dataset(builder: Builder | str) -> Any:
    """Registers a kind of data set, under the function's name or the one given.

    The builder takes ``(root, subset, image_transform, **its own keys)`` and returns any torch data
    set: of dict samples, of ``(image, target)`` pairs or of images. A map-style one may have
    `targets` (N class indices, -1 for none) and `classes` (their names), which the choice of labels
    needs.

    Example::

        @register_dataset
        def my_images(root, subset=None, image_transform=None):
            return MyDataset(root, subset, image_transform)

    Args:
        builder: The builder, or the name to register the decorated builder under.

    Returns:
        The builder, or a decorator for it.
    """
    if isinstance(builder, str):
        return lambda function: _register(builder, function)
    return _register(builder.__name__, builder)


def _register(name: str, builder: Builder) -> Builder:
    BUILDERS[name] = builder
    return builder


def dataset(
    name: str,
    root: str = ".",
    subset: str | list[str] | None = None,
    image_transform: Callable[[Any], Any] | None = None,
    **kwargs: Any,
) -> Samples | StreamedSamples:
    """Builds a data set.

    Args:
        name: Its kind as registered, or the path of a builder, such as ``my_data.my_images``.
        root: Its folder or file.
        subset: The subset or subsets to read; None means all.
        image_transform: Applied to each PIL image; None makes uint8 tensors (C, H, W).
        **kwargs: The choice of rows (`num_rows`, `rows`, `row_seed`; see
            :func:`~sesemi_like.data.row_choice.choose_rows`), and the label budget among them
            (`part`, `labels_per_class`, `num_labels`, `label_fraction`, `label_seed`,
            `hide_labels`; see :func:`~sesemi_like.data.splits.choose_part`); the others are passed
            to the builder. Null is the same as a missing key where the builder has no such key.

    Returns:
        A data set of dict samples with the fields `image`, `target` and `index`.

    Raises:
        ConfigError: If the kind or a key is unknown, or the builder reports problems of its data.
    """
    builder = _find_builder(name)
    choice = {key: kwargs.pop(key) for key in list(kwargs) if key in _ROW_KEYS}
    budget = {key: kwargs.pop(key) for key in list(kwargs) if key in _PART_KEYS}
    on_error = kwargs.pop("on_error", "raise")
    keys = _builder_keys(name, builder, kwargs)
    samples = _build(name, builder, root, subset, image_transform, keys)
    samples.on_error = on_error
    if isinstance(samples, StreamedSamples):
        _check_stream(samples, {**choice, **budget})
        return samples
    return choose_part(choose_rows(samples, **choice), **budget)


def _check_stream(samples: StreamedSamples, choice: dict[str, Any]) -> None:
    """Checks that nothing is asked of a stream that only a map-style data set can do."""
    given = {k: v for k, v in choice.items() if v not in (None, "all") and k not in _SEEDS}
    if given:
        expected = "a streamed data set cannot be split here; split it in its builder"
        raise ConfigError([ConfigProblem(key, value, expected) for key, value in given.items()])
    if samples.on_error == "skip" and not samples.can_skip:
        expected = "this streamed data set cannot skip samples; skip them in its builder"
        raise ConfigError([ConfigProblem("on_error", samples.on_error, expected)])


def _find_builder(name: str) -> Builder:
    if name in BUILDERS:
        return BUILDERS[name]
    expected = f"no such kind of data set; {suggest(name, BUILDERS, noun='kinds')}"
    if "." in name:
        try:
            builder: Builder = hydra.utils.get_method(name)
            return builder
        except (ImportError, ValueError) as error:
            expected = f"cannot be imported: {error}"
    raise ConfigError([ConfigProblem("name", name, expected)])


def _builder_keys(name: str, builder: Builder, given: dict[str, Any]) -> dict[str, Any]:
    """The keys that a builder takes; other keys may be null, as an override that removes them."""
    parameters = inspect.signature(builder).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return given
    known = {*parameters, *_ROW_KEYS, *_PART_KEYS, *_KEYS_OF_ALL}
    problems = [
        ConfigProblem(key, value, f"{name} takes no such key; {suggest(key, known, noun='keys')}")
        for key, value in given.items()
        if key not in known and value is not None
    ]
    if problems:
        raise ConfigError(problems)
    return {key: value for key, value in given.items() if key in known}


def _build(
    name: str,
    builder: Builder,
    root: str,
    subset: Any,
    image_transform: Callable[[Any], Any] | None,
    keys: dict[str, Any],
) -> Samples | StreamedSamples:
    try:
        inspect.signature(builder).bind(root, subset, image_transform, **keys)
    except TypeError as error:
        expected = f"its builder is called with root, subset, image_transform and its keys: {error}"
        raise ConfigError([ConfigProblem("name", name, expected)]) from error
    try:
        return as_samples(builder(root, subset, image_transform, **keys))
    except OSError as error:
        raise ConfigError(
            [ConfigProblem("root", root, f"{name} cannot read it: {error}")]
        ) from error
