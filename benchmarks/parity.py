"""Every method beside the peer's own code: the same rows, labels, indices and steps, loss by loss.

    python benchmarks/parity.py
    python benchmarks/parity.py --methods freematch comatch --steps 50

semilearn 0.3.2's algorithm classes with their hooks, and the config `method=NAME`, are given the
same rows of numbers in place of images, through the same linear layer in float64, for 50 steps of
growing confidence. Compared in each are the masks, the loss and the gradient of the layer. Where
the rules differ, because the paper does, ours is set to the peer's rule by the overrides in the
table; what then still differs is in its last column, and is not hidden by a tolerance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any
from unittest.mock import patch
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from common import print_machine
from fixmatch_cases import compose_config
from peers import algorithm, without_cuda
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.config.resolvers import AppAttributes, app_attributes
from sesemi_like.learners import Classifier
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.backbones.base import Backbone
from sesemi_like.models.heads.loss.base import Step

CLASSES, FEATURES, LABELED, UNLABELED, SAMPLES = 10, 16, 8, 24, 100
STEPS_PER_EPOCH = 10
PARTS = "sesemi_like.models.heads.loss.parts"
HEADS = "learner.hparams.model.regularization_loss_heads"


class Rows(Backbone):
    """A backbone whose features are the rows it is given, images (N, D, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.out_features = FEATURES

    def forward(self, images: Tensor) -> Tensor:
        """Returns the rows (N, D)."""
        return images.flatten(start_dim=1)


class PeersRows(nn.Module):
    """The same network as semilearn's algorithms call theirs."""

    num_features = FEATURES

    def __init__(self, num_classes: int = CLASSES, **_: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(FEATURES, num_classes)

    def forward(self, x: Tensor, only_fc: bool = False, only_feat: bool = False, **_: Any) -> Any:
        """Returns logits and features, or one of the two."""
        if only_fc:
            return self.fc(x)
        x = x.flatten(start_dim=1)
        return x if only_feat else {"logits": self.fc(x), "feat": x}

    def extract(self, x: Tensor) -> Tensor:
        """Returns the features."""
        return x.flatten(start_dim=1)

    def no_weight_decay(self) -> set[str]:
        """Names no parameter."""
        return set()


@dataclass(frozen=True)
class Case:
    """How a method of ours and an algorithm of the peer are made to follow one rule.

    Attributes:
        peer: The algorithm.
        settings: Further keys of its config: those of its published CIFAR-10 config.
        ours: Overrides that set our method to the peer's rule where that differs from the paper's.
        differs: What differs all the same, or which of our settings the overrides change, and why.
        order: Of each of our mixed rows, the position among the peer's; None is the same.
        scale: Multiplies the layer, which makes it more or less sure.
        start: Prepares the peer's algorithm, such as a warm-up that its own loop makes.
        match: Copies further weights of the peer's algorithm to ours.
    """

    peer: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    ours: tuple[str, ...] = ()
    differs: str = ""
    order: Tensor | None = None
    scale: float = 1.0
    start: Callable[[Any], None] | None = None
    match: Callable[[Any, Classifier], None] | None = None


AVERAGE = f"{{_target_: {PARTS}.AverageAlignment, target: counts, momentum: 0.999}}"
RAMP = (
    "{_target_: sesemi_like.schedulers.LinearSchedule, delay: 0, duration: 40%, max_iterations: 50}"
)
"""What the peer multiplies a weight by: the share of 40 % of the steps."""


def ramped(head: str, weight: float) -> tuple[str, ...]:
    """Overrides that give a head the peer's ramp and weight."""
    return f"{HEADS}.{head}.scheduler={RAMP}", f"{HEADS}.{head}.scale_factor={weight}"


def draw_as_given(built: Any, learner: Classifier) -> None:
    """Has both sides begin a virtual adversarial direction with the same numbers."""
    head: Any = learner.terms["vat"].head
    head.draw = lambda inputs, step: torch.randn(inputs.shape, generator=seeded(step.index)).to(
        inputs
    )


def copy_projector(built: Any, learner: Classifier) -> None:
    """Gives our projector the weights of the peer's."""
    ours: Any = learner.networks.module("projector")
    linear = [layer for layer in ours.modules() if isinstance(layer, nn.Linear)]
    for layer, given in zip(
        linear, (built.model.mlp_proj[0], built.model.mlp_proj[2]), strict=True
    ):
        layer.load_state_dict(given.state_dict())


def begin_bank(built: Any) -> None:
    """Has the peer divide embeddings of its bank by their norms, and begin to average weights."""
    built.call_hook("before_run")

    def update(features: Tensor, labels: Tensor, index: Tensor) -> None:
        mixed = 0.7 * built.mem_bank[:, index] + 0.3 * features.t().detach()
        built.mem_bank[:, index] = nn.functional.normalize(mixed, dim=0)
        built.labels_bank[index] = labels

    built.update_bank = update


def copy_distance(built: Any, learner: Classifier) -> None:
    """Gives the layer that tells views apart the weights of the peer's."""
    term: Any = learner.terms["crmatch"].head.terms["distance"]
    term.layer.load_state_dict(built.model.ds_classifier.state_dict())


def after_warmup(built: Any, learner: Classifier) -> None:
    """Has our policy be where the peer begins."""
    policy: Any = learner.terms["dash"].head.policy
    policy.num_steps.fill_(1)


def copy_bank(built: Any, learner: Classifier) -> None:
    """Begins our bank with the embeddings and labels of the peer's."""
    copy_projector(built, learner)
    bank: Any = learner.terms["simmatch"].head.bank
    bank.features.copy_(built.mem_bank.t())
    bank.label.copy_(built.labels_bank)
    bank.place.copy_(torch.arange(len(bank.place)))


def seeded(number: int) -> torch.Generator:
    """The generator of a step, for draws that both sides make."""
    return torch.Generator().manual_seed(number)


CASES: dict[str, Case] = {
    "pseudo_label": Case(
        "pseudolabel",
        {"p_cutoff": 0.95, "unsup_warm_up": 0.4},
        ours=(*ramped("pseudo_label", 1), f"{HEADS}.pseudo_label.head.policy=0.95"),
        differs="a threshold and the ramp of 40 %, which the paper has not",
    ),
    "pi_model": Case(
        "pimodel",
        {"ulb_loss_ratio": 10, "unsup_warm_up": 0.4},
        ours=(
            *ramped("consistency", 10),
            f"{HEADS}.consistency.head.first=strong",
            f"{HEADS}.consistency.head.second=weak",
            f"{HEADS}.consistency.head.target_grad=false",
        ),
        differs="one view is the target, without gradients; ramp and weight",
    ),
    "mean_teacher": Case(
        "meanteacher",
        {"ulb_loss_ratio": 50, "unsup_warm_up": 0.4},
        ours=(
            *ramped("mean_teacher", 50),
            f"{HEADS}.mean_teacher.head.student_view=strong",
            f"{HEADS}.mean_teacher.head.teacher_view=weak",
        ),
        differs="ramp and weight",
        start=lambda built: built.call_hook("before_run"),
    ),
    "mixmatch": Case(
        "mixmatch",
        {"ulb_loss_ratio": 100, "unsup_warm_up": 0.4, "T": 0.5, "mixup_alpha": 0.5},
        ours=(
            f"{HEADS}.mixmatch.head.views=[weak,strong]",
            f"{HEADS}.mixmatch.head.weight=100",
            f"{HEADS}.mixmatch.head.schedule={RAMP}",
            f"{HEADS}.mixmatch.head.batches=separate",
        ),
        differs="given draws, one share a batch; ramp and weight",
    ),
    "fixmatch": Case("fixmatch", {"p_cutoff": 0.95, "hard_label": True}),
    "remixmatch": Case(
        "remixmatch",
        {"ulb_loss_ratio": 1.5, "kl_loss_ratio": 0.5, "rot_loss_ratio": 0, "unsup_warm_up": 0.4},
        ours=(
            f"{HEADS}.remixmatch.head.batches=separate",
            f"{HEADS}.remixmatch.head.labelled_view=image",
            f"{HEADS}.remixmatch.head.rotation_weight=0",
            f"{HEADS}.remixmatch.head.schedule={RAMP}",
            f"~{HEADS}.remixmatch.head.alignment",
            f"{HEADS}.remixmatch.head.alignment={AVERAGE}",
        ),
        differs="given draws, one share a batch; alignment by a running average; labeled weak "
        "view; ramp; without rotation, whose turns the peer's data set draws",
        order=torch.cat([torch.arange(8), torch.arange(56, 80), torch.arange(8, 56)]),
    ),
    "crmatch": Case(
        "crmatch",
        {"p_cutoff": 0.95, "hard_label": True, "rot_loss_ratio": 0, "net": "bert", "use_cat": True},
        ours=(f"~{HEADS}.rotation_prediction",),
        differs="pooled features, as for transformers; without rotation, whose images are drawn "
        "by a loader of the peer's own",
        match=copy_distance,
    ),
    "comatch": Case(
        "comatch",
        {
            "T": 0.2,
            "p_cutoff": 0.7,
            "contrast_p_cutoff": 0.8,
            "queue_batch": 5,
            "proj_size": 64,
            "smoothing_alpha": 0.9,
            "da_len": 32,
            "contrast_loss_ratio": 1,
        },
        ours=(
            f"{HEADS}.comatch.head.queue_length=160",
            f"{HEADS}.comatch.head.smoothing_start=9",
            f"{HEADS}.comatch.head.policy=0.7",
        ),
        differs="smoothing from the second epoch on, as the peer has it; a threshold of 0.7; its "
        "alignment counts empty places of the queue (1e-6 of eps)",
        match=copy_projector,
    ),
    "simmatch": Case(
        "simmatch",
        {"T": 0.1, "p_cutoff": 0.7, "proj_size": 128, "in_loss_ratio": 1, "da_len": 32},
        ours=(f"{HEADS}.simmatch.head.policy=0.7",),
        differs="a threshold of 0.7; the same bank to begin with; the peer's is divided by the "
        "norms of embeddings, not along the batch; its alignment counts empty places (1e-6 of eps)",
        start=begin_bank,
        match=copy_bank,
    ),
    "uda": Case(
        "uda",
        {"p_cutoff": 0.8, "T": 0.4, "tsa_schedule": "none"},
        ours=(f"{HEADS}.uda.head.targets.temperature=1", f"{HEADS}.uda.head.loss=cross_entropy"),
        differs="targets that are not sharpened; cross-entropy, whose gradient is that of KL",
    ),
    "adamatch": Case(
        "adamatch",
        {"p_cutoff": 0.95, "hard_label": True, "ema_p": 0.999},
        ours=(
            "learner.hparams.model.supervised_loss.views=[image]",
            "learner.hparams.model.supervised_loss.interpolated=false",
            f"{HEADS}.adamatch.head.labelled_interpolated=false",
            f"~{HEADS}.adamatch.head.alignment",
            f"{HEADS}.adamatch.head.alignment={AVERAGE.replace('counts', 'labelled')}",
            f"{HEADS}.adamatch.head.policy.threshold=0.95",
            f"{HEADS}.adamatch.scheduler=null",
        ),
        differs="labeled weak view alone, no interpolated logits, no ramp, running averages, 0.95",
    ),
    "dash": Case(
        "dash",
        {"T": 0.5, "gamma": 3, "C": 1.0001, "rho_min": 0.05, "num_wu_iter": 0, "epoch": 50},
        ours=(
            f"{HEADS}.dash.head.policy.warmup=1",
            f"{HEADS}.dash.head.policy.interval=10",
            f"{HEADS}.dash.head.policy.gamma=3",
            f"{HEADS}.dash.head.policy.estimate=1.5",
            f"{HEADS}.dash.head.policy.loss=soft",
            f"{HEADS}.dash.reduction=mean",
        ),
        differs="after the warm-up; rho is given, 1.5, and falls by 3 every 10 steps; the loss of "
        "soft targets selects; mean of all rows",
        start=lambda built: setattr(built, "rho_init", 1.5),
        match=after_warmup,
    ),
    "vat": Case(
        "vat",
        {"ulb_loss_ratio": 1, "unsup_warm_up": 0.4, "vat_eps": 6, "ent_loss_ratio": 0.06},
        ours=(
            *ramped("vat", 1),
            f"{HEADS}.vat.head.epsilon=6",
            f"{HEADS}.vat.head.xi=1e-6",
            f"{HEADS}.vat.head.entropy_weight=0",
            f"{HEADS}.entropy.head._target_=sesemi_like.models.heads.loss.EntropyMinimizationLossHead",
            f"{HEADS}.entropy.scale_factor=0.06",
        ),
        differs="given draws, in float64, of less sure rows, since the peer adds 1e-16 to a norm; "
        "ramp, on the divergence alone",
        scale=0.3,
        match=draw_as_given,
    ),
    "defixmatch": Case("defixmatch", {"p_cutoff": 0.95, "hard_label": True, "ulb_loss_ratio": 0.5}),
    "softmatch": Case(
        "softmatch",
        {"hard_label": True, "dist_align": True, "dist_uniform": True, "ema_p": 0.9, "n_sigma": 2},
        ours=(
            f"{HEADS}.softmatch.head.alignment.momentum=0.9",
            f"{HEADS}.softmatch.head.policy.momentum=0.9",
        ),
        differs="momentum 0.9 on both sides, so that 50 steps move it",
    ),
    "freematch": Case(
        "freematch",
        {"hard_label": True, "ema_p": 0.9, "use_quantile": False, "ent_loss_ratio": 0.01},
        ours=(
            f"{HEADS}.freematch.head.policy.momentum=0.9",
            f"{HEADS}.freematch.head.terms.fairness.momentum=0.9",
        ),
        differs="momentum 0.9 on both sides, so that 50 steps move it",
    ),
    "flexmatch": Case("flexmatch", {"p_cutoff": 0.95, "hard_label": True, "thresh_warmup": True}),
}


def directions() -> Tensor:
    """What is typical of each class (C, D), which is what the layer looks for."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(CLASSES, FEATURES, generator=generator, dtype=torch.float64)


def batches(steps: int) -> list[dict[str, Tensor]]:
    """Makes the fields of every step; rows grow more typical of a class, some sooner."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for number in range(steps):
        target = torch.randint(CLASSES, (LABELED,), generator=generator)
        hidden = torch.randint(CLASSES, (UNLABELED,), generator=generator)
        clarity = 0.2 + 0.8 * (number + 1) / steps

        def rows(classes: Tensor, noise: float, clarity: float = clarity) -> Tensor:
            share = clarity * torch.rand(len(classes), 1, generator=generator, dtype=torch.float64)
            drawn = torch.randn(len(classes), FEATURES, generator=generator, dtype=torch.float64)
            return (share * directions()[classes] + noise * drawn)[:, :, None, None]

        batch = {f"unlabeled.{view}": rows(hidden, 0.5) for view in ("weak", "weak_2")}
        for view in ("medium", "strong", "strong_2"):
            batch[f"unlabeled.{view}"] = rows(hidden, 1.0)
        batch["unlabeled.index"] = torch.randperm(SAMPLES, generator=generator)[:UNLABELED]
        batch |= {"supervised.image": rows(target, 0.5), "supervised.strong": rows(target, 1.0)}
        batch |= {"supervised.target": target}
        batch["supervised.index"] = torch.randperm(40, generator=generator)[:LABELED]
        made.append(batch)
    return made


def our_learner(name: str, overrides: tuple[str, ...], steps: int) -> Classifier:
    """Builds the classifier of a method on rows, in training mode."""
    attributes = AppAttributes(
        iterations_per_epoch=STEPS_PER_EPOCH, max_iterations=steps, num_gpus=0, num_nodes=1
    )
    words = (
        f"method={name}", "backbone=mlp", "learner.hparams.model.forward=separate",
        *(f"++{word}" if not word.startswith("~") else word for word in overrides),
        f"learner.hparams.num_classes={CLASSES}", "optimizer=sgd",
        "++learner.hparams.model.supervised_loss.callable._target_=torch.nn.CrossEntropyLoss",
    )  # fmt: skip
    if name in ("mixmatch", "remixmatch"):
        words = tuple(word for word in words if "supervised_loss" not in word)
    with app_attributes(attributes):
        config = compose_config("sesemi_config", *words)
        hparams = plain(config.learner.hparams)
        hparams["model"]["backbone"] = {"_target_": "parity.Rows"}
        learner = Classifier(hparams, facts()).double()
        fields = {loader: set() for loader in ("supervised", "unlabeled")}
        for name_of_field in batches(1)[0]:
            loader, _, view = name_of_field.partition(".")
            fields[loader].add(view)
        learner.make_plan(fields)
    return learner.train()


def plain(config: Any) -> dict[str, Any]:
    """The hyperparameters as plain values, resolved within the run that is set."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def facts() -> DataFacts:
    """What is known of the data: a table row for each of the samples."""
    return DataFacts(
        rows={"train.supervised": 40, "train.unlabeled": SAMPLES},
        largest_index={"train.supervised": 39, "train.unlabeled": SAMPLES - 1},
        class_counts={"supervised": [4] * CLASSES},
        num_classes=CLASSES,
        steps_per_epoch=STEPS_PER_EPOCH,
    )


def their_algorithm(case: Case, steps: int) -> Any:
    """Builds the peer's algorithm on the same network."""
    images = np.zeros((SAMPLES, 32, 32, 3), dtype=np.uint8)
    targets = np.arange(SAMPLES) % CLASSES
    settings = {
        "batch_size": LABELED, "uratio": UNLABELED // LABELED, "use_cat": False,
        "epoch": steps // STEPS_PER_EPOCH, "ulb_loss_ratio": 1.0, **case.settings,
    }  # fmt: skip
    built = algorithm(case.peer, images, targets, steps, builder=PeersRows, **settings)
    built.model.double().train()
    for hook in built.hooks_dict.values():  # some keep float32 by name
        state = {n: v.double() for n, v in vars(hook).items() if isinstance(v, Tensor)}
        vars(hook).update({n: v for n, v in state.items() if vars(hook)[n].is_floating_point()})
    built.epoch = 0
    built.masks = []
    call_hook = built.call_hook

    def noting(function: str, *arguments: Any, **named: Any) -> Any:
        answer = call_hook(function, *arguments, **named)
        if function == "masking":
            built.masks.append(answer)
        return answer

    built.call_hook = noting
    return built


PEERS_NAMES = {
    "x_lb": "supervised.image",
    "x_lb_s": "supervised.strong",
    "y_lb": "supervised.target",
    "idx_lb": "supervised.index",
    "x_ulb_w": "unlabeled.weak",
    "x_ulb_s": "unlabeled.strong",
    "x_ulb_s_0": "unlabeled.strong",
    "x_ulb_s_1": "unlabeled.strong_2",
    "idx_ulb": "unlabeled.index",
}


def their_step(built: Any, batch: Mapping[str, Tensor], number: int) -> tuple[Tensor, Tensor, Any]:
    """Runs a step of the peer: its loss, the gradient of the layer, and its masks."""
    built.it, built.epoch = number, number // STEPS_PER_EPOCH
    built.masks.clear()
    given = {name: batch[field].clone() for name, field in PEERS_NAMES.items()}
    out, _ = built.train_step(**built.process_batch(**given))
    layer = next(part for part in built.model.modules() if isinstance(part, PeersRows)).fc
    (gradient,) = torch.autograd.grad(out["loss"], [layer.weight])
    return out["loss"].detach(), gradient, [mask.double() for mask in built.masks]


def our_step(
    learner: Classifier, batch: Mapping[str, Tensor], number: int, steps: int
) -> tuple[Tensor, Tensor, Any]:
    """Runs a step of ours: its loss, the gradient of the layer, and its weights of rows."""
    assert learner.plan is not None
    given = learner.plan.run(batch, seed=number)
    epoch = number // STEPS_PER_EPOCH
    step = Step(number, steps, learner.networks, batch, epoch, seed=number)
    total, masks = torch.zeros(()), []
    for name, term in learner.terms.items():
        outputs = term.head(given[name], step)
        total = total + term.weight(number) * reduce_terms(outputs, term.reduction).loss
        if name != "supervised":
            masks += [v.weights for v in outputs.terms.values() if v.weights is not None][:1]
    layer: Any = learner.networks.module("classifier").head  # type: ignore[union-attr]
    (gradient,) = torch.autograd.grad(total, [layer.weight])
    for term in learner.terms.values():
        term.head.after_step(step)
    return total.detach(), gradient, masks


@contextmanager
def given_draws(number: int, order: Tensor | None = None) -> Iterator[None]:
    """Has both sides mix rows with the same partners, by one share for all of a batch."""
    share = float(np.random.default_rng(number).beta(0.5, 0.5))
    draw = torch.randperm

    def partners(count: int, **_: Any) -> Tensor:
        return draw(count, generator=seeded(number))

    def our_partners(chosen: Tensor, _: Any) -> Tensor:
        theirs = partners(len(chosen))
        return theirs if order is None else order.argsort()[theirs[order]]

    def shares(count: int, *_: Any) -> Tensor:
        return torch.full((count,), share, dtype=torch.float64)

    def normal(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=seeded(number)).double()

    with (
        patch.object(Tensor, "normal_", normal),
        patch("numpy.random.beta", lambda *_: share),
        patch("torch.randperm", partners),
        patch(f"{PARTS}.mixing.draw_beta", shares),
        patch(f"{PARTS}.mixed_rows.partners_within", our_partners),
    ):
        yield


def compare(name: str, case: Case, steps: int) -> dict[str, float]:
    """Runs both for so many steps; returns the largest difference of masks, loss and gradient."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)  # of the state that the peer keeps as well
    with without_cuda(), redirect_stdout(StringIO()), catch_warnings():
        simplefilter("ignore")
        built = their_algorithm(case, steps)
    learner = our_learner(name, case.ours, steps)
    layer: Any = learner.networks.module("classifier").head  # type: ignore[union-attr]
    peers = next(part for part in built.model.modules() if isinstance(part, PeersRows)).fc
    with torch.no_grad():
        peers.weight.copy_(case.scale * directions())
        layer.load_state_dict(peers.state_dict())
        if case.match is not None:
            case.match(built, learner)
        for average in learner.averages():
            teacher: Any = learner.networks.module(average)
            teacher.module.load_state_dict(learner.networks.module("classifier").state_dict())
    if case.start is not None:
        with without_cuda():
            case.start(built)
    worst = {"mask": 0.0, "loss": 0.0, "gradient": 0.0}
    kept = []
    for number, batch in enumerate(batches(steps)):
        with without_cuda(), given_draws(number):
            loss, gradient, masks = their_step(built, batch, number)
        with given_draws(number, case.order):
            our_loss, our_gradient, our_masks = our_step(learner, batch, number, steps)
        worst["loss"] = max(worst["loss"], float((loss - our_loss).abs()))
        worst["gradient"] = max(worst["gradient"], float((gradient - our_gradient).abs().max()))
        for mask, ours in zip(masks, our_masks, strict=False):
            worst["mask"] = max(worst["mask"], float((mask - ours).abs().max()))
            kept.append(float(mask.mean()))
    return {**worst, "kept": float(np.mean(kept)) if kept else float("nan")}


def main() -> None:
    """Prints a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(CASES))
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    print_machine(f"{arguments.steps} steps, float64")
    print("| method | kept | masks | loss | gradient | set to the peer's rule, and what differs |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.methods:
        found = compare(name, CASES[name], arguments.steps)
        cells = [f"{found['kept']:.2f}"]
        cells += [f"{found[what]:.0e}" for what in ("mask", "loss", "gradient")]
        print(f"| {name} | {' | '.join(cells)} | {CASES[name].differs} |", flush=True)


if __name__ == "__main__":
    with patch.dict("os.environ", {"OMP_NUM_THREADS": "1"}):
        main()
