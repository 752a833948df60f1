"""open_cli: composes a config, checks it, and hands it over to the run."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode as HydraMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from .config.check import check
from .config.diagnose import composition_problems
from .config.resolvers import register_resolvers
from .config.store import PRIMARY_CONFIG, builtin_configs, register_configs
from .errors import SKIP_HINT, ConfigError, ConfigProblem, UnreadableSampleError

_FULL_ERROR, _ASKED_FOR = "HYDRA_FULL_ERROR", "SESEMI_LIKE_FULL_ERROR"

_TOLD = (ConfigError, OmegaConfBaseException, UnreadableSampleError)
"""What is told in a sentence; anything else is a mistake of ours and shows its stack trace."""


def main() -> None:
    """Runs the command `open_cli`; exits with 1, a message and no stack trace on bad input."""
    register_resolvers()
    register_configs()
    # Hydra prints with a logger, whose stack trace nobody wants after `open_cli --info | head`.
    logging.raiseExceptions = False
    # A config file's own keys go before those of its defaults, which is what people expect.
    warnings.filterwarnings("ignore", message=".*Defaults list is missing `_self_`")
    with _hydra_raises() as wants_traceback:
        _run(wants_traceback)


@contextmanager
def _hydra_raises() -> Iterator[bool]:
    """Has Hydra raise what it would otherwise print; answers whether stack traces are wanted.

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


def _run(wants_traceback: bool) -> None:
    composed: list[DictConfig] = []

    def task(config: DictConfig) -> float | None:
        composed.append(config)
        try:
            return job(config)
        except _TOLD as error:
            if wants_traceback or HydraConfig.get().mode == HydraMode.MULTIRUN:
                raise  # the other runs of a sweep go on
            print(_explained(error, True), file=sys.stderr)
            sys.exit(1)

    run_hydra = hydra.main(
        version_base="1.3", config_path=str(builtin_configs()), config_name=PRIMARY_CONFIG
    )
    try:
        run_hydra(task)()
    except Exception as error:
        if wants_traceback or (composed and not isinstance(error, _TOLD)):
            traceback.print_exc()
        else:
            print(_explained(error, bool(composed)), file=sys.stderr)
        sys.exit(1)


def job(config: DictConfig) -> float | None:
    """Checks a composed config and runs it.

    Args:
        config: The composed config.

    Returns:
        The best headline figure, for Hydra's sweepers; None where nothing was measured.

    Raises:
        ConfigError: If the run cannot work.
    """
    problems = check(config)

    from .run import run  # the first import of torch

    return run(config, problems)


def _explained(error: Exception, is_composed: bool) -> ConfigError | str:
    """Tells an error in the user's words, with all problems behind a failed composition."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, UnreadableSampleError):
        return f"{error}; {SKIP_HINT}"
    if is_composed:
        key = str(getattr(error, "full_key", None) or "config")
        reason = str(error).strip().splitlines()[0]
        return ConfigError([ConfigProblem(key, "an expression that cannot be resolved", reason)])
    args = get_args_parser().parse_args()
    name = args.config_name or PRIMARY_CONFIG
    folder, overrides = args.config_dir, args.overrides
    return ConfigError(composition_problems(error, name, folder, overrides, is_sweep=args.multirun))
