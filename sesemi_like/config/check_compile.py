"""Checks of `run.compile` that need no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigProblem, suggest

ARGUMENTS = ("fullgraph", "dynamic", "backend", "mode", "options")
"""What `run.compile` may set of torch.compile."""

_GRAPH_MODES = ("reduce-overhead", "max-autotune")
_GRAPH_OPTIONS = ("triton.cudagraphs", "triton.cudagraph_trees")


def compile_problems(value: Any) -> Iterator[ConfigProblem]:
    """Checks what `run.compile` is.

    Args:
        value: True, False, null or a mapping of arguments.
    """
    if value is None or isinstance(value, bool):
        return
    if not isinstance(value, Mapping):
        expected = "must be true, false, or a mapping of torch.compile's arguments"
        yield ConfigProblem("run.compile", value, expected)
        return
    for name in value:
        if name not in ARGUMENTS:
            expected = suggest(str(name), ARGUMENTS, noun="it takes")
            yield ConfigProblem(f"run.compile.{name}", value[name], expected)
    mode, options = value.get("mode"), value.get("options")
    if mode is not None and options is not None:
        yield ConfigProblem("run.compile.mode", mode, "give only one of mode, options")
    # A graph writes its outputs where its last ones were, and a step calls networks several times.
    expected = "uses CUDA graphs, whose outputs the next call of a network overwrites; {}"
    if mode in _GRAPH_MODES:
        other = expected.format("give max-autotune-no-cudagraphs or default")
        yield ConfigProblem("run.compile.mode", mode, other)
    for name in _GRAPH_OPTIONS:
        if isinstance(options, Mapping) and options.get(name):
            key = f"run.compile.options.{name}"
            yield ConfigProblem(key, options[name], expected.format("leave it out"))


def compile_arguments(value: Any) -> dict[str, Any] | None:
    """The arguments of torch.compile that `run.compile` means, or None where nothing is compiled.

    Args:
        value: `run.compile` as a plain value, which has no problems.
    """
    if value is None or value is False:
        return None
    return {} if value is True else dict(value)
