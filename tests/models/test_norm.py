"""BatchNorm policies against BatchNorm by NumPy, and what they must leave alone."""

import copy
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.norm import POLICIES, batch_norm, sees_batch

Normalized = NDArray[np.float64]


def normalize(inputs: Tensor, mean: Normalized, variance: Normalized) -> Normalized:
    """Normalizes (N, C, H, W) by statistics (C,)."""
    channels = (None, slice(None), None, None)
    values: Normalized = inputs.detach().numpy()
    return (values - mean[channels]) / np.sqrt(variance[channels] + 1e-5)


def by_batch(inputs: Tensor) -> Normalized:
    values = inputs.detach().numpy()
    return normalize(inputs, values.mean((0, 2, 3)), values.var((0, 2, 3)))


def by_running(inputs: Tensor, layer: nn.Module) -> Normalized:
    state = {name: value.numpy() for name, value in layer.state_dict().items()}
    return normalize(inputs, state["running_mean"], state["running_var"])


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same(module: nn.Module, before: dict[str, Tensor]) -> None:
    after = module.state_dict()
    assert list(after) == list(before)
    for name, value in before.items():
        assert torch.equal(after[name], value), name


def trained(layer: nn.Module) -> nn.Module:
    """A layer whose running statistics are not those it began with."""
    torch.manual_seed(0)
    layer.double().train()
    layer(3 + 2 * torch.randn(6, 3, 4, 4, dtype=torch.float64))
    return layer


INPUTS = torch.randn(5, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
MAKERS: list[Callable[[], nn.Module]] = [
    lambda: nn.BatchNorm2d(3),
    lambda: nn.SyncBatchNorm(3),
    lambda: nn.BatchNorm2d(3, affine=False, momentum=None),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("grad", [True, False])
def test_batch_takes_the_statistics_of_the_batch_and_moves_none(
    make: Callable[[], nn.Module], layout: torch.memory_format, grad: bool
) -> None:
    layer = trained(make())
    before = state_of(layer)
    with batch_norm(layer, "batch"), torch.set_grad_enabled(grad):
        outputs = layer(INPUTS.contiguous(memory_format=layout))
    np.testing.assert_allclose(outputs.detach().numpy(), by_batch(INPUTS), rtol=1e-10, atol=1e-12)
    assert_same(layer, before)


@pytest.mark.parametrize("make", MAKERS)
def test_eval_takes_the_running_statistics_and_moves_none(make: Callable[[], nn.Module]) -> None:
    layer = trained(make())
    before = state_of(layer)
    with batch_norm(layer, "eval"):
        outputs = layer(INPUTS)
    expected = by_running(INPUTS, layer)
    np.testing.assert_allclose(outputs.detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    assert_same(layer, before)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("other", ["batch", "eval"])
def test_afterwards_the_layer_trains_as_before(make: Callable[[], nn.Module], other: str) -> None:
    plain, layer = trained(make()), trained(make())
    with batch_norm(layer, other):
        layer(INPUTS)
    expected = plain(INPUTS)
    with batch_norm(layer, "update"):
        outputs = layer(INPUTS)
    assert torch.equal(outputs, expected)
    assert_same(layer, state_of(plain))
    assert int(cast(Tensor, layer.num_batches_tracked)) == 2


@pytest.mark.parametrize("policy", POLICIES)
def test_instance_norm_reads_its_statistics_under_eval_alone(policy: str) -> None:
    layer = trained(nn.InstanceNorm2d(3, track_running_stats=True))
    buffers, before = dict(layer.named_buffers()), state_of(layer)
    by_sample = np.concatenate([by_batch(sample[None]) for sample in INPUTS])
    expected = by_running(INPUTS, layer) if policy == "eval" else by_sample
    with batch_norm(layer, policy):
        outputs = layer(INPUTS)
    np.testing.assert_allclose(outputs.numpy(), expected, rtol=1e-10, atol=1e-12)
    is_moved = not torch.equal(cast(Tensor, layer.running_mean), before["running_mean"])
    assert is_moved == (policy == "update")
    assert all(buffers[name] is value for name, value in layer.named_buffers())


class Branches(nn.Module):
    """Dropout, a layer of statistics in a child, and the same layer under a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.second, self.dropout = nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.again = self.second

    def forward(self, inputs: Tensor) -> Tensor:
        return cast(Tensor, self.dropout(self.again(self.second(self.first(inputs)))))


@pytest.mark.parametrize("policy", ["batch", "eval"])
def test_other_layers_keep_their_mode(policy: str) -> None:
    network = Branches().double().train()
    before = state_of(network)
    with batch_norm(network, policy):
        assert network.dropout.training and network.first.training and network.training
        assert (network(INPUTS) == 0).any()
        assert network.second.training == (policy == "batch")
    assert_same(network, before)


def modes(network: nn.Module) -> dict[str, dict[str, Any]]:
    names = ("training", "track_running_stats")
    parts = network.named_modules()
    return {path: {n: getattr(part, n, None) for n in names} for path, part in parts}


@pytest.mark.parametrize("policy", POLICIES)
def test_an_exception_leaves_everything_as_it_was(policy: str) -> None:
    network = Branches().double().train()
    before, was = state_of(network), modes(network)
    with pytest.raises(RuntimeError), batch_norm(network, policy):
        network(INPUTS[:, :2])
    assert modes(network) == was
    assert_same(network, before)


@pytest.mark.parametrize("outer", POLICIES)
@pytest.mark.parametrize("inner", POLICIES)
def test_of_nested_policies_the_innermost_holds(outer: str, inner: str) -> None:
    plain, network = (Branches().double().train() for _ in range(2))
    network.load_state_dict(plain.state_dict())
    was = modes(network)
    with batch_norm(plain.first, inner):
        expected = plain.first(INPUTS)
    with batch_norm(network, outer):
        before = modes(network)
        with batch_norm(network.first, inner):
            assert torch.equal(network.first(INPUTS), expected)
        assert modes(network) == before
    assert modes(network) == was
    assert_same(network, state_of(plain))


def test_a_frozen_layer_keeps_its_running_statistics() -> None:
    network = Branches().double().train()
    network.first.eval()
    expected = network.first(INPUTS)
    with batch_norm(network, "batch"):
        assert torch.equal(network.first(INPUTS), expected)
        assert network.second.training


@pytest.mark.parametrize("policy", POLICIES)
def test_a_network_in_evaluation_mode_is_evaluated(policy: str) -> None:
    network = Branches().double().eval()
    before, expected = state_of(network), network(INPUTS)
    with batch_norm(network, policy):
        assert torch.equal(network(INPUTS), expected)
    assert_same(network, before)


def test_a_teacher_takes_the_statistics_of_the_batch_when_asked_in_training() -> None:
    layer = trained(nn.BatchNorm2d(3))
    teacher = EMATeacher(layer)
    learner = nn.ModuleList([layer, teacher]).train()
    before = state_of(teacher)
    for policy, expected in (
        ("update", by_running(INPUTS, layer)),
        ("eval", by_running(INPUTS, layer)),
        ("batch", by_batch(INPUTS)),
    ):
        with batch_norm(teacher, policy):
            np.testing.assert_allclose(teacher(INPUTS).numpy(), expected, rtol=1e-10, atol=1e-12)
    learner.eval()
    with batch_norm(teacher, "batch"):
        outputs = teacher(INPUTS).numpy()
    np.testing.assert_allclose(outputs, by_running(INPUTS, layer), rtol=1e-10, atol=1e-12)
    assert_same(teacher, before)


def test_layers_that_were_replaced_are_found_again() -> None:
    network = Branches().double().train()
    with batch_norm(network, "batch"):
        network(INPUTS)
    nn.SyncBatchNorm.convert_sync_batchnorm(network)
    before = state_of(network)
    with batch_norm(network, "batch"):
        network(INPUTS)
    assert_same(network, before)


def test_a_copy_has_layers_of_its_own() -> None:
    network = Branches().double().train()
    with batch_norm(network, "batch"):
        network(INPUTS)
    other = copy.deepcopy(network)
    before, others = state_of(network), state_of(other)
    with batch_norm(network, "batch"):
        network(INPUTS)
    assert_same(network, before)
    with batch_norm(other, "eval"):
        other(INPUTS)
    assert_same(other, others)


@pytest.mark.slow
def test_a_compiled_network_follows_each_policy() -> None:
    plain, network = (trained(nn.BatchNorm2d(3)) for _ in range(2))
    network.compile(backend="eager")
    for policy in ("update", "batch", "eval", "batch", "update", "eval"):
        with batch_norm(plain, policy):
            expected = plain(INPUTS)
        with batch_norm(network, policy):
            outputs = network(INPUTS)
        torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)
        assert_same(network, state_of(plain))


def test_an_unknown_policy_is_an_error() -> None:
    found = "norm: found 'train'; must be one of update, batch, eval"
    with pytest.raises(ValueError, match=found), batch_norm(nn.BatchNorm1d(2), "train"):
        pass


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.BatchNorm1d(2), {"update", "batch"}),
        (nn.BatchNorm1d(2).eval(), set()),
        (nn.BatchNorm1d(2, track_running_stats=False).eval(), {"update", "batch", "eval"}),
        (nn.InstanceNorm1d(2), set()),
        (nn.InstanceNorm1d(2, track_running_stats=True), {"update"}),
        (nn.GroupNorm(1, 2), set()),
        (EMATeacher(nn.BatchNorm1d(2)), {"batch"}),
    ],
)
def test_rows_depend_on_each_other_by_the_policy(network: nn.Module, expected: set[str]) -> None:
    assert {policy for policy in POLICIES if sees_batch(network, policy)} == expected
