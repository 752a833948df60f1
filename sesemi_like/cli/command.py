"""open_cli: composes a config, checks it, and hands it over to the run."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra import version
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode as HydraMode
from hydra.types import TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ..config.check import check
from ..config.command_line import alike_in_all_runs
from ..config.diagnose import composition_problems
from ..config.from_run import begin_from_run, refuse_elsewhere
from ..config.places import missing_data
from ..config.resolvers import register_resolvers
from ..config.search import composer
from ..config.store import register_configs
from ..errors import (
    SKIP_HINT,
    ConfigError,
    ConfigProblem,
    NonFiniteLossError,
    UnreadableSampleError,
)
from ..run.modes import MODES
from . import help as told
from .arguments import parsed, parser, runs_nothing
from .failures import failure
from .sweep import Sweep

_FULL_ERROR, _ASKED_FOR = "HYDRA_FULL_ERROR", "SESEMI_LIKE_FULL_ERROR"

_TOLD = (ConfigError, OmegaConfBaseException, UnreadableSampleError, NonFiniteLossError)
"""Reported in a sentence, as is what `failures` knows; anything else is a mistake of ours."""


def main() -> None:
    """Runs the command `open_cli`.

    Exits with 1, a message and no stack trace on bad input, and with 2 where the command line
    cannot be read or asks for nothing.
    """
    if not sys.argv[1:]:
        print(told.FIRST_STEPS, file=sys.stderr)
        sys.exit(2)
    arguments = parsed(sys.argv[1:])
    version.setbase("1.3")
    register_resolvers()
    register_configs()
    # Hydra prints with a logger, whose stack trace nobody wants after `open_cli --info | head`.
    logging.raiseExceptions = False
    # A config file's own keys go before those of its defaults, which is what people expect.
    warnings.filterwarnings("ignore", message=".*Defaults list is missing `_self_`")
    with _hydra_raises() as wants_traceback:
        _run(arguments, wants_traceback)


@contextmanager
def _hydra_raises() -> Iterator[bool]:
    """Has Hydra raise what it would otherwise print; returns whether stack traces are wanted.

    Processes that Lightning launches inherit the environment, so it also holds what was asked for.
    """
    before = {name: os.environ.get(name) for name in (_FULL_ERROR, _ASKED_FOR)}
    asked_for = before[_ASKED_FOR] or before[_FULL_ERROR] or "0"
    os.environ.update({_FULL_ERROR: "1", _ASKED_FOR: asked_for})
    try:
        yield asked_for != "0"
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _run(arguments: Namespace, wants_traceback: bool) -> None:
    composed: list[DictConfig] = []

    def explain(error: Exception) -> str:
        if wants_traceback or (composed and not _is_reported(error)):
            return "".join(traceback.format_exception(error)).rstrip()
        return str(_explained(error, arguments, bool(composed)))

    def noted(config: DictConfig) -> dict[str, Any]:
        composed.append(config)
        refuse_elsewhere(config, arguments.config_name)
        return job(config)

    def once(config: DictConfig) -> None:
        try:
            noted(config)
        except Exception as error:
            print(explain(error), file=sys.stderr)
            sys.exit(1)

    sweep = Sweep(noted, explain, arguments.overrides)
    try:
        arguments.config_name = begin_from_run(arguments.config_name, arguments.overrides, MODES)
        app = composer(arguments.config_dir)
        if runs_nothing(arguments):
            with _readers_may_leave():
                _show(app, arguments)
        else:
            _start(app, arguments, once, sweep)
    except Exception as error:
        if not sweep.rows:  # which told it when it happened
            print(explain(error), file=sys.stderr)
        sys.exit(1)
    finally:
        sweep.finish()
        GlobalHydra.instance().clear()


def _show(app: Hydra, arguments: Namespace) -> None:
    """Shows what was asked for in place of a run."""
    name, overrides = arguments.config_name, arguments.overrides
    if arguments.help:
        print(told.help_text(app, name, arguments.config_dir, overrides))
    elif arguments.hydra_help:
        app.hydra_help(None, parser(), arguments)
    elif arguments.info:
        print(told.info_text(app, name, arguments.config_dir, overrides))
    elif arguments.hydra_info:
        app.show_info("all", name, overrides)
    elif arguments.cfg:
        app.show_cfg(name, overrides, arguments.cfg, arguments.package, arguments.resolve)
    else:
        app.shell_completion(name, overrides)


@contextmanager
def _readers_may_leave() -> Iterator[None]:
    """Lets a reader of the output leave early, as `head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _start(app: Hydra, arguments: Namespace, once: TaskFunction, sweep: Sweep) -> None:
    """Carries out one run, or the runs of a sweep."""
    name, overrides = arguments.config_name, arguments.overrides
    mode = HydraMode.MULTIRUN if arguments.multirun else app.get_mode(name, overrides)
    own = [*overrides, f"hydra.mode={(mode or HydraMode.RUN).name}"]
    if mode == HydraMode.MULTIRUN:
        app.multirun(name, sweep, [*own, alike_in_all_runs(overrides)])
        return
    app.run(name, once, own)


def job(config: DictConfig) -> dict[str, Any]:
    """Checks a composed config and runs it.

    Args:
        config: The composed config.

    Returns:
        What ``summary.json`` holds; its headline figure is for Hydra's sweepers.

    Raises:
        ConfigError: If the run cannot work.
    """
    problems = check(config, MODES)
    if missing := missing_data(config, MODES):
        raise ConfigError([*problems, *missing])  # more needs the data, and importing torch

    from ..run.execute import run  # the first import of torch

    return run(config, problems)


def _is_reported(error: Exception) -> bool:
    return isinstance(error, _TOLD) or failure(error) is not None


def _explained(error: Exception, arguments: Namespace, is_composed: bool) -> ConfigError | str:
    """Tells an error in the user's words, with all problems behind a failed composition."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, NonFiniteLossError):
        return str(error)
    if isinstance(error, UnreadableSampleError):
        return f"{error}; {SKIP_HINT}"
    if (reason := failure(error)) is not None:
        return reason
    if is_composed:
        key = str(getattr(error, "full_key", None) or "config")
        reason = str(error).strip().splitlines()[0]
        return ConfigError([ConfigProblem(key, "an expression that cannot be resolved", reason)])
    name, folder = arguments.config_name, arguments.config_dir
    overrides, is_sweep = arguments.overrides, arguments.multirun
    return ConfigError(
        composition_problems(error, name, folder, overrides, MODES, is_sweep=is_sweep)
    )
