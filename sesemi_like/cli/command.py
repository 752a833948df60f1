"""open_cli: composes a config, checks it and runs it, or shows what is asked for.

What `-h` and `--info` do without is imported where it is used.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ..config.from_run import refuse_in_file, register_earlier_run
from ..config.own_code import own_code
from ..config.resolvers import register_resolvers
from ..config.search_path import own_configs
from ..config.store import register_configs, restore_sections
from ..errors import (
    SKIP_HINT,
    BatchError,
    ConfigError,
    ConfigProblem,
    NonFiniteLossError,
    UnreadableSampleError,
)
from ..run.modes import MODES
from .arguments import read_arguments
from .failures import failure_reason
from .help import FIRST_STEPS, config_text, help_text, info_text
from .hydra_main import is_sweeping, run_hydra, run_jobs

_FULL_ERROR, _WANTS_TRACEBACK = "HYDRA_FULL_ERROR", "SESEMI_LIKE_FULL_ERROR"

_REPORTED = (
    ConfigError,
    OmegaConfBaseException,
    UnreadableSampleError,
    BatchError,
    NonFiniteLossError,
)
"""Reported in a sentence, as is what `failures` knows; anything else is a mistake of ours."""


def main() -> None:
    """Runs the command `open_cli`.

    Exits with 1, a message and no stack trace on bad input, and with 2 where the command line
    cannot be read or asks for nothing.
    """
    if not sys.argv[1:]:
        print(FIRST_STEPS, file=sys.stderr)
        sys.exit(2)
    arguments = read_arguments(sys.argv[1:])
    register_resolvers()
    register_configs()
    # Hydra prints with a logger, which shows a stack trace after `open_cli --info | head`.
    logging.raiseExceptions = False
    # A config file's own keys take precedence over those of its defaults, as people expect.
    warnings.filterwarnings("ignore", message=".*Defaults list is missing `_self_`")
    with _hydra_raises() as wants_traceback:
        _run(arguments, wants_traceback)


@contextmanager
def _hydra_raises() -> Iterator[bool]:
    """Has Hydra raise what it would otherwise print; returns whether stack traces are wanted.

    Processes that Lightning launches inherit the environment, so it also holds what was wanted.
    """
    before = {name: os.environ.get(name) for name in (_FULL_ERROR, _WANTS_TRACEBACK)}
    wanted = before[_WANTS_TRACEBACK] or before[_FULL_ERROR] or "0"
    os.environ.update({_FULL_ERROR: "1", _WANTS_TRACEBACK: wanted})
    try:
        yield wanted != "0"
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
        return str(_explain(error, arguments, bool(composed)))

    def run_once(config: DictConfig) -> dict[str, Any]:
        composed.append(config)
        restore_sections(config)
        refuse_in_file(config, arguments.config_name)
        with own_code(arguments.config_dir):  # anew, in the job of a launcher
            return job(config)

    try:
        with own_configs(arguments.config_dir), own_code(arguments.config_dir):
            name, overrides = arguments.config_name, arguments.overrides
            arguments.config_name = register_earlier_run(name, overrides, MODES)
            if not _show(arguments):
                _run_jobs(arguments, run_once, explain)
    except Exception as error:
        print(explain(error), file=sys.stderr)
        sys.exit(1)


def _run_jobs(
    arguments: Namespace,
    run_once: Callable[[DictConfig], dict[str, Any]],
    explain: Callable[[Exception], str],
) -> None:
    """Carries out one run, or the runs of a sweep; each reports its failure itself."""
    from .sweep import Sweep

    sweep = Sweep(run_once, explain, arguments.overrides)

    def task(config: DictConfig) -> float | None:
        if is_sweeping():
            return sweep(config)
        try:
            run_once(config)
        except Exception as error:
            print(explain(error), file=sys.stderr)
            sys.exit(1)
        return None

    try:
        run_jobs(task, arguments.config_name, arguments.overrides, sweeps=arguments.multirun)
    except Exception:
        if sweep.rows:
            sys.exit(1)
        raise
    finally:
        sweep.finish()


def _show(arguments: Namespace) -> bool:
    """Shows what is asked for in place of a run; returns whether anything is."""
    for option, show in _SHOWS.items():
        if getattr(arguments, option):
            with _readers_may_leave():
                show(arguments)
            return True
    return False


def _show_help(arguments: Namespace) -> None:
    print(help_text(arguments.config_name, arguments.config_dir, arguments.overrides))


def _show_info(arguments: Namespace) -> None:
    print(info_text(arguments.config_name, arguments.config_dir, arguments.overrides))


def _show_config(arguments: Namespace) -> None:
    sections, package, resolve = arguments.cfg, arguments.package, arguments.resolve
    print(config_text(arguments.config_name, arguments.overrides, sections, package, resolve))


def _show_hydra_help(arguments: Namespace) -> None:
    run_hydra(["--hydra-help"])


def _show_hydra_info(arguments: Namespace) -> None:
    run_hydra(["--config-name", arguments.config_name, "--info", "all", *arguments.overrides])


def _complete(arguments: Namespace) -> None:
    name, words = arguments.config_name, arguments.overrides
    run_hydra(["--config-name", name, "--shell-completion", *words])


_SHOWS: dict[str, Callable[[Namespace], None]] = {
    "help": _show_help,
    "hydra_help": _show_hydra_help,
    "info": _show_info,
    "hydra_info": _show_hydra_info,
    "cfg": _show_config,
    "shell_completion": _complete,
}
"""Options that show something in place of a run; of several, the first counts."""


@contextmanager
def _readers_may_leave() -> Iterator[None]:
    """Lets a reader of the output leave early, as `head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def job(config: DictConfig) -> dict[str, Any]:
    """Checks a composed config and runs it.

    Args:
        config: The composed config.

    Returns:
        What ``summary.json`` holds; its headline figure is for Hydra's sweepers.

    Raises:
        ConfigError: If the run cannot work.
    """
    from ..config.check import check
    from ..config.paths import missing_data

    problems = check(config, MODES)
    if missing := missing_data(config, MODES):
        raise ConfigError([*problems, *missing])  # more needs the data, and importing torch

    from ..run.execute import run  # the first import of torch

    return run(config, problems)


def _is_reported(error: Exception) -> bool:
    return isinstance(error, _REPORTED) or failure_reason(error) is not None


def _explain(error: Exception, arguments: Namespace, is_composed: bool) -> ConfigError | str:
    """Puts an error into a sentence, with all problems behind a failed composition."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, NonFiniteLossError | BatchError):
        return str(error)
    if isinstance(error, UnreadableSampleError):
        return f"{error}; {SKIP_HINT}"
    if (reason := failure_reason(error)) is not None:
        return reason
    if is_composed:
        key = str(getattr(error, "full_key", None) or "config")
        reason = str(error).strip().splitlines()[0]
        return ConfigError([ConfigProblem(key, "an expression that cannot be resolved", reason)])
    from ..config.diagnose import composition_problems

    name, folder = arguments.config_name, arguments.config_dir
    overrides, is_sweep = arguments.overrides, arguments.multirun
    return ConfigError(
        composition_problems(error, name, folder, overrides, MODES, is_sweep=is_sweep)
    )
