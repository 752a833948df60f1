"""open_cli: composes a config, checks it, and hands it over to the run."""

from __future__ import annotations

import os
import sys
import traceback

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode as HydraMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from .config.check import check
from .config.diagnose import composition_problems
from .config.resolvers import register_resolvers
from .config.store import PRIMARY_CONFIG, builtin_configs, register_configs
from .errors import ConfigError

_FULL_ERROR = "HYDRA_FULL_ERROR"


def main() -> None:
    """Runs the command `open_cli`; exits with 1, a message and no stack trace on bad input."""
    register_resolvers()
    register_configs()
    wants_traceback = os.environ.get(_FULL_ERROR, "0") not in ("", "0")
    os.environ[_FULL_ERROR] = "1"  # Hydra then raises what it would otherwise print
    try:
        hydra.main(
            version_base="1.3", config_path=str(builtin_configs()), config_name=PRIMARY_CONFIG
        )(job)()
    except (ConfigError, HydraException, OmegaConfBaseException, YAMLError) as error:
        if wants_traceback:
            traceback.print_exc()
        print(_explained(error), file=sys.stderr)
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

    try:
        return run(config, problems)
    except ConfigError as error:
        if HydraConfig.get().mode == HydraMode.MULTIRUN:
            raise  # the other runs of a sweep go on
        print(error, file=sys.stderr)
        sys.exit(1)


def _explained(error: Exception) -> ConfigError:
    """Finds all problems behind the first one that kept the config from being composed."""
    if isinstance(error, ConfigError):
        return error
    args = get_args_parser().parse_args()
    name = args.config_name or PRIMARY_CONFIG
    return ConfigError(composition_problems(error, name, args.config_dir, args.overrides))
