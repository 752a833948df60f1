"""The command open_cli, also as ``python -m sesemi_like``: signals are handled from the start."""

from __future__ import annotations

from .signals import stop_on_signals


def main() -> None:
    """Runs the command; importing what it needs is a part of it that may be interrupted."""
    with stop_on_signals():
        from .cli.command import main as command

        command()


if __name__ == "__main__":
    main()
