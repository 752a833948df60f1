"""The options of `open_cli`, which may stand anywhere among the overrides."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .._version import __version__
from ..config.store import PRIMARY_CONFIG

_SHELLS = "install=bash | fish | zsh, uninstall=bash, query=bash"


def build_parser() -> argparse.ArgumentParser:
    """Describes the command line, in the order in which `-h` shows it."""
    command = argparse.ArgumentParser(
        prog="open_cli",
        usage="open_cli [-cn NAME] [-cd DIR] [option ...] [key=value | group=choice ...]",
        add_help=False,
    )
    add = command.add_argument
    add("--config-name", "-cn", metavar="NAME", default=PRIMARY_CONFIG, help="the config to run")
    add("--config-dir", "-cd", "--config-path", "-cp", metavar="DIR",
        help="a folder of your own configs, searched before the built-in ones")  # fmt: skip
    add("--multirun", "-m", action="store_true",
        help="run every combination of comma-separated values")  # fmt: skip
    add("--help", "-h", action="store_true", help="show this, and run nothing")
    add("--info", "-i", action="store_true",
        help="show the config and which file each value comes from, and run nothing")  # fmt: skip
    add("--cfg", "-c", choices=["job", "hydra", "all"], help="show the config alone: job")
    add("--package", "-p", metavar="KEY", help="with --cfg: only what is below this key")
    add("--resolve", action="store_true", help="with --cfg: show the values behind ${...}")
    add("--run", "-r", action="store_true", help="run once, which is what happens without it")
    add("--shell-completion", "-sc", action="store_true", help=_SHELLS)
    add("--hydra-info", action="store_true", help="show Hydra's plugins and search path")
    add("--hydra-help", action="store_true", help="show Hydra's own help")
    add("--version", action="version", version=f"open_cli {__version__}", help="show the version")
    add("overrides", nargs="*", help=argparse.SUPPRESS)
    return command


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads a command line.

    Args:
        arguments: What follows the command's name.

    Returns:
        The options by name; `overrides` are all other words, in their order.

    Raises:
        SystemExit: With 2 if an option does not exist or lacks its value, or if several of those
            that show something are given; with 0 after `--version`.
    """
    command = build_parser()
    options = command.parse_intermixed_args(arguments)
    shows = ("multirun", "help", "info", "cfg", "run", "shell_completion", "hydra_info")
    given = [f"--{name.replace('_', '-')}" for name in shows if getattr(options, name)]
    if len(given) > 1 and not options.help:
        command.error(f"give only one of {', '.join(given)}")
    for option in ("package", "resolve"):
        if getattr(options, option) and not (options.cfg or options.help):
            command.error(f"--{option} goes with --cfg")
    return options
