"""Runs the command open_cli as ``python -m sesemi_like``."""

from .cli import main

if __name__ == "__main__":
    main()
