"""`run.compile`: every network of a learner compiled in place, where the compiler works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError, ConfigProblem
from ..models.networks import Networks


def compile_networks(
    networks: Networks, arguments: Mapping[str, Any], device: torch.device
) -> None:
    """Compiles every network in place; names of parameters and buffers stay what they are.

    The compiler is tried first, on a layer of no importance: it needs another compiler, of C++ or
    of the GPU, which many machines lack. Networks themselves are compiled at their first call.
    Methods and parts of networks that requests name are not compiled.

    Args:
        networks: The networks of a learner.
        arguments: Of ``torch.compile``.
        device: Where the run computes.

    Raises:
        ConfigError: If nothing can be compiled with these arguments on this machine.
    """
    try:
        trial = nn.Linear(2, 2, device=device)
        trial.compile(**arguments)
        trial(torch.zeros(2, 2, device=device)).sum().backward()
    except Exception as error:  # the compiler's own, those of its backends, and of what they call
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        expected = f"nothing can be compiled so on this machine: {reason}; false compiles nothing"
        raise ConfigError([ConfigProblem("run.compile", arguments or True, expected)]) from error
    for network in networks.modules_by_name.values():
        network.compile(**arguments)
