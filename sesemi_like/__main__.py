"""The command open_cli, also as ``python -m sesemi_like``: signals are heeded from the start."""

from __future__ import annotations

from .signals import stopped_by_signals


def main() -> None:
    """Runs the command; importing what it needs is a part of it that may be interrupted."""
    with stopped_by_signals():
        from .cli.command import main as command

        command()


if __name__ == "__main__":
    main()
