"""The EMA teacher's update after a step, WRN-28-2: this package, semilearn, and the floor.

python benchmarks/ema.py
"""

from __future__ import annotations

import argparse
import copy

import torch
from common import interleave, print_machine, print_table
from peers import import_semilearn
from torch import Tensor, nn

from sesemi_like.models.backbones import wrn_28_2
from sesemi_like.models.ema import EMATeacher

ROUNDS = 50


def averaged_tensors(module: nn.Module) -> list[Tensor]:
    """What a teacher averages: parameters, and buffers of floats."""
    return [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]


def main() -> None:
    """Measures all in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    import_semilearn()
    from semilearn.core.utils import EMA

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = wrn_28_2().to(device)
    teacher, theirs = EMATeacher(network), EMA(network, 0.999)
    theirs.register()
    shadow = copy.deepcopy(network)
    new, old = averaged_tensors(network), averaged_tensors(shadow)
    state, loop = network.state_dict(), copy.deepcopy(network).state_dict()

    def semilearn_hook() -> None:
        theirs.update()
        shadow.load_state_dict(network.state_dict())
        shadow.load_state_dict(theirs.shadow, strict=False)

    @torch.no_grad()
    def state_dict_loop() -> None:
        for name, value in state.items():
            if value.is_floating_point():
                loop[name].mul_(0.999).add_(value, alpha=0.001)

    floor = "floor: one foreach call on prepared lists"
    single = {
        "semilearn 0.3.2, its EMA hook": semilearn_hook,
        "a loop over the state dict": state_dict_loop,
        "sesemi_like, EMATeacher.update": lambda: teacher.update(network, 1000),
        floor: torch.no_grad()(lambda: torch._foreach_lerp_(old, new, 0.001)),
    }
    cases = {n: (lambda case=case: [case() for _ in range(ROUNDS)]) for n, case in single.items()}
    times = interleave(cases, options.repeats, ROUNDS)
    print_machine(f"{options.repeats} interleaved repeats of {ROUNDS} updates")
    columns = {"over semilearn": "semilearn 0.3.2, its EMA hook", "over the floor": floor}
    print_table(times, "ms an update", against=columns)


if __name__ == "__main__":
    main()
