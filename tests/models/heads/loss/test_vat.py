"""Virtual adversarial training against NumPy: the direction, who learns, what stays as it was."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from processes import in_processes
from references import losses as reference
from references import virtual_adversarial as vat
from torch import Tensor, nn

from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import LossOutputs, Step, VATLossHead
from sesemi_like.models.networks import Networks

FIELD = "unlabeled.weak"


class LinearNetwork(nn.Module):
    """Images (N, 2, 2, 3) to logits (N, 3), without anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.layer(images.flatten(start_dim=1))}


class NormedNetwork(LinearNetwork):
    """The same after BatchNorm, and a nonlinearity."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return super().forward(torch.tanh(self.norm(images)))


def networks_of(network: nn.Module) -> Networks:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return Networks({"classifier": network})


def apply(head: VATLossHead, networks: Networks, images: Tensor, step_seed: int = 5) -> LossOutputs:
    outputs = outputs_of(head, networks, images)
    return head(outputs, Step(0, None, networks, {}, seed=step_seed))


def outputs_of(head: VATLossHead, networks: Networks, images: Tensor) -> Mapping[str, Any]:
    plan = ForwardPlan({"head": head.forwards({})}, networks, heads={"head": head})
    return plan.run({FIELD: images})["head"]


def images(rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, 2, 2, 3, generator=generator, dtype=torch.float64)


def drawn_for(rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(rows, 2, 2, 3, generator=generator)


SETTINGS = [(1, 0.01, 2.0), (3, 1e-6, 0.5)]


@pytest.mark.parametrize("rows", [4, 1])
@pytest.mark.parametrize(("steps", "xi", "epsilon"), SETTINGS)
def test_losses_are_those_of_the_equations(
    rows: int, steps: int, xi: float, epsilon: float
) -> None:
    networks = networks_of(LinearNetwork()).double()
    layer: Any = networks.module("classifier").layer
    head = VATLossHead(epsilon=epsilon, xi=xi, power_iterations=steps, entropy_weight=0.5)
    found = apply(head, networks, images(rows)).terms
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected, _ = vat.losses(
        images(rows).flatten(1), weight, bias, drawn_for(rows).flatten(1),
        epsilon=epsilon, xi=xi, steps=steps,
    )  # fmt: skip
    np.testing.assert_allclose(found["divergence"].losses.detach(), expected, rtol=1e-6)
    logits = images(rows).flatten(1).numpy() @ weight.T + bias
    entropies = reference.entropy(logits)
    np.testing.assert_allclose(found["entropy"].losses.detach(), entropies, rtol=1e-6)
    reduced = reduce_terms(LossOutputs(found), "mean").loss.item()
    assert reduced == pytest.approx(expected.mean() + 0.5 * entropies.mean(), rel=1e-6)


def test_gradients_are_those_of_the_moved_rows_alone() -> None:
    networks = networks_of(LinearNetwork()).double()
    layer: Any = networks.module("classifier").layer
    apply(VATLossHead(epsilon=2, entropy_weight=0), networks, images(4)).terms[
        "divergence"
    ].losses.sum().backward()
    weight, bias = layer.weight.detach(), layer.bias.detach()
    _, changes = vat.losses(
        images(4).flatten(1), weight, bias, drawn_for(4).flatten(1), epsilon=2, xi=0.01, steps=1
    )
    rows = images(4).flatten(1)
    p, q = (F.linear(x, weight, bias).softmax(1) for x in (rows, rows + torch.from_numpy(changes)))
    # Of KL(p || q) with p given: q - p times the row.
    expected = (q - p).T @ (rows + torch.from_numpy(changes))
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-6, atol=1e-9)


def test_the_entropy_is_left_out_with_weight_zero() -> None:
    networks = networks_of(LinearNetwork())
    found = apply(VATLossHead(entropy_weight=0), networks, images(3).float()).terms
    assert list(found) == ["divergence"]


def test_norms_take_the_batch_and_no_statistics_move() -> None:
    networks = networks_of(NormedNetwork()).train()
    norm: Any = networks.module("classifier").norm
    apply(VATLossHead(), networks, 3 + images(6).float())
    assert not norm.running_mean.any() and not norm.num_batches_tracked
    assert norm.training and norm.track_running_stats
    outputs_of(VATLossHead(norm="update"), networks, 3 + images(6).float())
    assert norm.num_batches_tracked == 1


def test_no_rows_are_a_zero_in_the_graph() -> None:
    networks = networks_of(LinearNetwork())
    loss = reduce_terms(apply(VATLossHead(), networks, images(0).float()), "mean").loss
    loss.backward()
    assert loss.item() == 0
    layer: Any = networks.module("classifier").layer
    assert not layer.weight.grad.any()


def test_the_direction_is_found_in_float32_in_mixed_precision() -> None:
    networks, rows = networks_of(NormedNetwork()).eval(), images(16).float()
    head, directions = VATLossHead(), []
    network = networks["classifier"]
    for is_mixed in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            clean = outputs_of(head, networks, rows)["clean"]["logits"]
            found = head._direction(lambda x: network(x)["logits"], rows, clean, drawn_for(16))
        directions.append(found.flatten(1))
    cosines = (directions[0] * directions[1]).sum(dim=1)
    np.testing.assert_allclose(cosines, 1, rtol=1e-4)


def test_it_is_measured_where_gradients_are_switched_off() -> None:
    networks, rows = networks_of(NormedNetwork()).eval(), images(5).float()
    expected = apply(VATLossHead(), networks, rows).terms["divergence"].losses.detach()
    with torch.inference_mode():
        found = apply(VATLossHead(), networks, rows.clone()).terms["divergence"].losses
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_draws_follow_the_step() -> None:
    networks, rows = networks_of(NormedNetwork()).eval(), images(5).float()
    first, again, other = (
        apply(VATLossHead(), networks, rows, seed).terms["divergence"].losses.tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epsilon": 0}, "epsilon: found 0; needs a number above 0"),
        ({"xi": -1}, "xi: found -1; needs a number above 0"),
        ({"power_iterations": 0}, "power_iterations: found 0; needs 1 at least"),
    ],
)
def test_settings_outside_their_range_are_refused(setting: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VATLossHead(**setting)


def test_rows_without_numbers_are_refused() -> None:
    head, step = VATLossHead(), Step(0, None, Networks({}), {})
    clean = {"logits": torch.zeros(2, 3)}
    with pytest.raises(ValueError, match=r"view: found torch.int64 in unlabeled.weak; needs float"):
        head({"input": torch.zeros(2, 4, dtype=torch.int64), "clean": clean}, step)


ROWS = images(7)


class SameDraws(VATLossHead):
    """Begins with a direction that depends on the row alone, whatever the process."""

    def draw(self, inputs: Tensor, step: Step) -> Tensor:
        return torch.sin(7 * inputs)


class VATLearner(Learner):
    def build_networks(self) -> Networks:
        return networks_of(LinearNetwork())

    def build_terms(self) -> dict[str, LossTerm]:
        return {"vat": LossTerm(SameDraws(epsilon=1, power_iterations=2))}


def loss_and_gradient(rows: Tensor) -> list[list[float]]:
    """Loss and gradient, averaged over processes as DDP does."""
    learner = VATLearner({}).double()
    learner.make_plan({"unlabeled": {"weak"}})
    loss = learner.training_step({FIELD: rows}, 0)
    loss.backward()
    parts = [loss.detach(), *(p.grad for p in learner.parameters() if p.grad is not None)]
    return [(all_sum(part) / world_size()).flatten().tolist() for part in parts]


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = [loss_and_gradient(ROWS[:cut] if rank == 0 else ROWS[cut:]) for cut in (2, 7)]
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    in_processes(write, tmp_path)
    expected = loss_and_gradient(ROWS)
    assert max(map(abs, expected[1])) > 1e-3
    for rank in range(2):
        for found in json.loads((tmp_path / f"{rank}.json").read_text()):
            for own, one in zip(found, expected, strict=True):
                assert own == pytest.approx(one, rel=1e-9, abs=1e-12)
