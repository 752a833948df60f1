"""Finds the parts of pseudo-label heads by listing their folders, and trains heads of them."""

import importlib
import inspect
import pkgutil
import zlib
from typing import Any

import torch
from parts_playing import CLASSES
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import PseudoLabelLossHead, Step
from sesemi_like.models.heads.loss.parts import Alignment, Policy, Term, alignments, policies, terms
from sesemi_like.models.networks import Networks

KINDS: dict[str, Any] = {"alignments": Alignment, "policies": Policy, "terms": Term}
PACKAGES = {"alignments": alignments, "policies": policies, "terms": terms}
PARTS: dict[str, Any] = {
    name: part
    for kind, package in PACKAGES.items()
    for _, module, _ in pkgutil.iter_modules(package.__path__)
    for name, part in vars(importlib.import_module(f"{package.__name__}.{module}")).items()
    if inspect.isclass(part)
    and issubclass(part, KINDS[kind])
    and part is not KINDS[kind]
    and part.__module__ == f"{package.__name__}.{module}"
}
POLICIES, ALIGNMENTS, TERMS = (
    [name for name, part in PARTS.items() if issubclass(part, kind)]
    for kind in (Policy, Alignment, Term)
)
SETTINGS: dict[str, dict[str, Any]] = {
    "CurriculumPolicy": {"threshold": 0.5},
    "FixedPolicy": {"threshold": 0.5},
    "LossPolicy": {"warmup": 1, "interval": 1, "rho_min": 0.5},
    "RelativePolicy": {"threshold": 0.8},
    "FairnessTerm": {"momentum": 0.7},
    "GaussianPolicy": {"momentum": 0.7},
    "SelfAdaptivePolicy": {"momentum": 0.7},
}


def make(name: str) -> Any:
    """Makes a part whose state and weights move within a few batches."""
    if name == "ProductPolicy":
        return PARTS[name]([0.4, make("GaussianPolicy")])
    if name == "ComplementPolicy":
        return PARTS[name](make("SelfAdaptivePolicy"))
    return PARTS[name](**SETTINGS.get(name, {}))


class Classifier(nn.Module):
    """A linear classifier of four numbers."""

    num_classes, out_features = CLASSES, 4

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, CLASSES)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"features": rows, "logits": self.head(rows)}


class Head(PseudoLabelLossHead):
    """Draws that depend on a row alone, not on where it lies in a batch."""

    def uniform(self, teacher: Any, generator: Any) -> Tensor:
        return (1000 * teacher["logits"].sum(dim=1)).frac().abs()


def step(number: int) -> Step:
    return Step(number, 4, Networks({}), {})


def fields_of_step(number: int, names: Any) -> dict[str, Tensor]:
    """Eight unlabeled rows and five labeled ones, the same however often it is called."""
    fields = {}
    for name in sorted(names):
        generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {number}".encode()))
        rows = 8 if name.startswith("unlabeled") else 5
        if name.endswith("index"):
            fields[name] = torch.randperm(50, generator=generator)[:rows]
        elif name.endswith("target"):
            fields[name] = torch.randint(CLASSES, (rows,), generator=generator)
        else:
            fields[name] = 2 * torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    return fields


def cut(name: str, rows: Tensor, rank: int) -> Tensor:
    """A process's rows of a field: the first has fewer."""
    first = 3 if name.startswith("unlabeled") else 2
    return rows[first:] if rank else rows[:first]


def make_head(**words: Any) -> tuple[PseudoLabelLossHead, Networks]:
    """A head of these parts and its networks, in float64."""
    torch.manual_seed(0)
    networks = Networks({"classifier": Classifier(), "teacher": Classifier()})
    head = Head(**words)
    facts = DataFacts(
        largest_index={"train.unlabeled": 49},
        rows={"train.unlabeled": 50},
        class_counts={"supervised": [8, 4, 2, 2]},
    )
    head.build(networks, facts)
    return head.double(), networks.double()


def loss_of_step(
    head: PseudoLabelLossHead, networks: Networks, number: int, rank: int | None = None
) -> Tensor:
    """The loss of a step, of the rows of one of two processes or of all."""
    plan = ForwardPlan({"head": head.forwards({})}, networks, heads={"head": head})
    fields = fields_of_step(number, plan.fields)
    if rank is not None:
        fields = {name: cut(name, rows, rank) for name, rows in fields.items()}
    return reduce_terms(head(plan.run(fields)["head"], step(number)), "mean").loss


def train(
    head: PseudoLabelLossHead, networks: Networks, rank: int | None = None, steps: int = 4
) -> dict[str, Any]:
    """Loss and gradient of some steps, averaged over processes as DDP does, and the buffers."""
    parameters = [*networks.parameters(), *head.parameters()]
    found = []
    for number in range(steps):
        loss = loss_of_step(head, networks, number, rank)
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        numbers = [loss.detach(), *(g for g in grads if g is not None)]
        found.append([(all_sum(n) / world_size()).flatten().tolist() for n in numbers])
        head.after_step(step(number))
    buffers = {n: b.double().flatten().tolist() for n, b in head.named_buffers()}
    return {"steps": found, "buffers": buffers}
