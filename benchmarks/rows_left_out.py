"""FixMatch without the rows that weigh nothing, against a bare loop that runs all of them.

    python benchmarks/rows_left_out.py

A small ViT and a small residual network with GroupNorm on 32 x 32 images; the mask keeps a given
share of the unlabeled rows. A step is forward, backward and SGD. At the end of each case the
weights of both sides are compared: they start alike and see the same images.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from common import measure, print_machine
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from sesemi_like.devices import tune_process
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss import FixMatchLossHead, SupervisedLossHead
from sesemi_like.models.networks import ClassificationNetwork, Networks

CLASSES = 10
FIELDS = {"supervised": {"image", "target"}, "unlabeled": {"weak", "strong"}}
TITLES = (
    "network", "mask rate", "bare loop, ms a step", "all rows", "rows left out",
    "bare over left out", "difference of weights", "`auto`",
)  # fmt: skip


def vit() -> nn.Module:
    """A ViT of 6 layers of 96 numbers on patches of 4 x 4: 0.7 million weights."""
    network = VisionTransformer(32, 4, num_classes=0, embed_dim=96, depth=6, num_heads=3)
    network.out_features = 96
    return network


def group_norm() -> nn.Module:
    """ResNet-10 with GroupNorm of 8 groups."""
    network = ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=partial(nn.GroupNorm, 8))
    network.fc, network.out_features = nn.Identity(), 512
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {"ViT": vit, "ResNet-10, GroupNorm": group_norm}


class Share(nn.Module):
    """Keeps a share of the rows, whatever is predicted, in place of a threshold."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, probabilities: Tensor) -> Tensor:
        """Weighs the rows (N,)."""
        kept = torch.zeros_like(probabilities[:, 0])
        order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))
        kept[order[: round(self.share * len(kept))].to(kept.device)] = 1
        return kept


class FixMatch(Learner):
    """The supervised loss and FixMatch on one network."""

    def build_networks(self) -> Networks:
        """Builds the network that the settings name."""
        backbone = NETWORKS[self.settings["network"]]()
        head = nn.Linear(int(backbone.out_features), CLASSES)  # type: ignore[arg-type]
        return Networks({"classifier": ClassificationNetwork(backbone, head)})

    def build_terms(self) -> dict[str, LossTerm]:
        """Builds both losses."""
        supervised = SupervisedLossHead(nn.CrossEntropyLoss())
        fixmatch = FixMatchLossHead(threshold=Share(self.settings["share"]))
        return {"supervised": LossTerm(supervised), "fixmatch": LossTerm(fixmatch)}


def make_learner(network: str, share: float, rows: str, batch: Mapping[str, Tensor]) -> FixMatch:
    """Builds a learner that has settled how its forwards are run."""
    torch.manual_seed(0)
    settings = {"network": network, "share": share, "rows": rows, "forward": "separate"}
    learner = FixMatch(settings).to(batch["unlabeled.weak"].device)
    learner.make_plan(FIELDS)
    choice = learner._choice
    assert choice is not None
    choice.drop_inexact({name: value[:2] for name, value in batch.items()})
    choice.decide(batch, nullcontext)
    return learner


def bare_loss(network: nn.Module, batch: Mapping[str, Tensor], share: float) -> Tensor:
    """The same losses over all rows."""
    logits = network(batch["supervised.image"])["logits"]
    loss = F.cross_entropy(logits, batch["supervised.target"])
    with torch.no_grad():
        weak = network(batch["unlabeled.weak"])["logits"].softmax(dim=1)
    strong = network(batch["unlabeled.strong"])["logits"]
    losses = F.cross_entropy(strong, weak.argmax(dim=1), reduction="none")
    return loss + (losses * Share(share)(weak)).mean()


def stepper(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """A training step of a module."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def compare(network: str, share: float, batch: Mapping[str, Tensor], options: Any) -> str:
    """Measures the three ways of a step in turn, and compares the weights they end with."""
    learners = {rows: make_learner(network, share, rows, batch) for rows in ("off", "on")}
    bare = copy.deepcopy(learners["off"].networks.module("classifier"))
    steps = {
        "bare": stepper(bare, lambda: bare_loss(bare, batch, share)),
        **{
            rows: stepper(learner, partial(learner.training_step, dict(batch), 0))
            for rows, learner in learners.items()
        },
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(options.steps + 1):
        for name, step in steps.items():
            seconds, _ = measure(step)
            if repeat:  # the first call of a kernel may choose and build it
                times[name].append(seconds * 1e3)
    medians = {name: sorted(found)[len(found) // 2] for name, found in times.items()}
    ratios = sorted(a / b for a, b in zip(times["bare"], times["on"], strict=True))
    trained = learners["on"].networks.module("classifier").parameters()
    pairs = zip(bare.parameters(), trained, strict=True)
    difference = max(float((one - other).abs().max().detach()) for one, other in pairs)
    chosen = make_learner(network, share, "auto", batch).rows_in_use
    middle, quarter = ratios[len(ratios) // 2], len(ratios) // 4
    spread = f"{middle:.2f} ({ratios[quarter]:.2f}-{ratios[-1 - quarter]:.2f})"
    cells = [network, f"{share:g}", *(f"{medians[n]:.1f}" for n in ("bare", "off", "on")), spread]
    return " | ".join([*cells, f"{difference:.0e}", "left out" if chosen else "all run"])


def main() -> None:
    """Prints a table over networks and mask rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8, help="labeled images a step")
    parser.add_argument("--unlabeled", type=int, default=56, help="unlabeled images a step")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    tune_process()
    print_machine(f"{options.steps} interleaved steps of {options.batch} + {options.unlabeled}")
    print("| " + " | ".join(TITLES) + " |\n| " + " | ".join("---" for _ in TITLES) + " |")
    generator = torch.Generator().manual_seed(0)
    sizes = {"supervised.image": options.batch}
    sizes |= dict.fromkeys(("unlabeled.weak", "unlabeled.strong"), options.unlabeled)
    batch = {n: torch.randn(size, 3, 32, 32, generator=generator) for n, size in sizes.items()}
    batch["supervised.target"] = torch.arange(options.batch) % CLASSES
    batch = {name: value.to(options.device) for name, value in batch.items()}
    for network in NETWORKS:
        for share in (0.0, 0.1, 0.3, 1.0):
            print(f"| {compare(network, share, batch, options)} |", flush=True)


if __name__ == "__main__":
    main()
