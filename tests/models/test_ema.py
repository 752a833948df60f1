"""The EMA teacher against the recursion in NumPy, warm-up by hand, and its edges."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.freezing import freeze


class Network(nn.Module):
    """Parameters, floating-point and integer buffers; tied weights when asked."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)
        if tied:
            self.second.weight = self.first.weight
        self.out_features = 3

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.second(self.norm(self.first(inputs)))


def average(teacher: EMATeacher) -> Network:
    assert isinstance(teacher.module, Network)
    return teacher.module


def drift(network: Network) -> None:
    """Changes every weight as a step would, and BatchNorm's statistics by a forward."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
        network.train()(torch.randn(5, 3, dtype=network.first.weight.dtype))


def as_numpy(network: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def averaged_names(network: Network, kind: str) -> set[str]:
    if kind == "parameters":
        return {name for name, _ in network.named_parameters()}
    return {name for name, value in network.state_dict().items() if value.is_floating_point()}


@pytest.mark.parametrize("warmup", [False, True])
@pytest.mark.parametrize("kind", ["states", "parameters"])
def test_average_follows_the_recursion(kind: str, warmup: bool) -> None:
    torch.manual_seed(0)
    network = Network().double()
    teacher = EMATeacher(network, decay=0.3, warmup=warmup, kind=kind)
    expected, averaged = as_numpy(network), averaged_names(network, kind)
    for step in range(6):
        drift(network)
        teacher.update(network, step)
        d = min(0.3, (1 + step) / (10 + step)) if warmup else 0.3
        for name, new in as_numpy(network).items():
            expected[name] = d * expected[name] + (1 - d) * new if name in averaged else new
    for name, value in as_numpy(teacher.module).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-14, err_msg=name)
    assert average(teacher).norm.num_batches_tracked == 6


def test_kinds_differ_in_the_buffers_alone() -> None:
    torch.manual_seed(0)
    network = Network()
    states, parameters = (EMATeacher(network, 0.9, False, k) for k in ("states", "parameters"))
    drift(network)
    for teacher in (states, parameters):
        teacher.update(network, 0)
    assert torch.equal(average(states).first.weight, average(parameters).first.weight)
    assert torch.equal(average(parameters).norm.running_mean, network.norm.running_mean)
    assert not torch.equal(average(states).norm.running_mean, network.norm.running_mean)


def test_warmup_by_hand() -> None:
    teacher = EMATeacher(Network(), decay=0.999)
    assert teacher.decay_at(0) == pytest.approx(1 / 10)
    assert teacher.decay_at(10) == pytest.approx(11 / 20)
    assert teacher.decay_at(80) == pytest.approx(81 / 90)
    # (1 + s) / (10 + s) reaches 0.999 at s = 8990.
    assert teacher.decay_at(8989) < 0.999
    assert teacher.decay_at(8990) == teacher.decay_at(10**6) == 0.999
    assert EMATeacher(Network(), decay=0.999, warmup=False).decay_at(0) == 0.999


@pytest.mark.parametrize("decay", [0, 1])
def test_decay_at_its_ends(decay: int) -> None:
    network = Network()
    start = copy.deepcopy(network)
    teacher = EMATeacher(network, decay=decay, warmup=False)
    drift(network)
    teacher.update(network, 0)
    source = network if decay == 0 else start
    for (name, value), wanted in zip(
        average(teacher).named_parameters(), source.parameters(), strict=True
    ):
        assert torch.equal(value, wanted), name
    assert torch.equal(average(teacher).norm.running_var, source.norm.running_var)
    assert average(teacher).norm.num_batches_tracked == network.norm.num_batches_tracked


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay: found"):
        EMATeacher(Network(), decay=decay)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind: found 'weights'; must be one of states, param"):
        EMATeacher(Network(), kind="weights")


def test_tied_parameters_are_averaged_once_and_stay_tied() -> None:
    network = Network(tied=True)
    teacher = EMATeacher(network, decay=0.5, warmup=False)
    start = network.first.weight.detach().clone()
    drift(network)
    teacher.update(network, 0)
    assert average(teacher).second.weight is average(teacher).first.weight
    torch.testing.assert_close(average(teacher).first.weight, (start + network.first.weight) / 2)


def test_takes_no_gradients_and_leaves_the_network_as_it_was() -> None:
    network = Network().train()
    teacher = EMATeacher(network)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    teacher.update(network, 0)
    assert not teacher(torch.randn(2, 3)).requires_grad
    average(teacher).first.weight.fill_(7)
    assert not (network.first.weight == 7).any()


def test_stays_in_evaluation_mode() -> None:
    teacher = EMATeacher(Network().train())
    whole = nn.ModuleDict({"teacher": teacher}).train()
    assert whole.training
    assert not any(module.training for module in teacher.module.modules())
    before = average(teacher).norm.running_mean.clone()
    teacher(torch.randn(4, 3))
    assert torch.equal(average(teacher).norm.running_mean, before)


def test_forward_and_feature_size_are_those_of_the_network() -> None:
    network = Network().eval()
    teacher = EMATeacher(network)
    inputs = torch.randn(2, 3)
    assert torch.equal(teacher(inputs), network(inputs))
    assert teacher.out_features == 3


def test_state_dict_round_trip_goes_on_alike() -> None:
    torch.manual_seed(0)
    network = Network()
    teacher = EMATeacher(network, decay=0.9)
    drift(network)
    teacher.update(network, 0)
    restored = EMATeacher(Network(), decay=0.9)
    restored.load_state_dict(teacher.state_dict())
    drift(network)
    for one in (teacher, restored):
        one.update(network, 1)
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, restored.state_dict()[name]), name


@pytest.mark.parametrize("other", [torch.float64, torch.bfloat16])
def test_tensors_of_several_dtypes_keep_theirs(other: torch.dtype) -> None:
    network = Network()
    network.second.to(other)
    teacher = EMATeacher(network, decay=0.5, warmup=False)
    start = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    teacher.update(network, 0)
    for own, old, new in zip(
        teacher.parameters(), start.parameters(), network.parameters(), strict=True
    ):
        assert own.dtype == old.dtype
        torch.testing.assert_close(own, (old + new) / 2)


@pytest.mark.parametrize("kind", ["states", "parameters"])
def test_one_call_averages_and_one_call_copies(kind: str) -> None:
    network = Network()
    teacher = EMATeacher(network, kind=kind)
    with torch.profiler.profile() as profile:
        teacher.update(network, 0)
    names = [event.name for event in profile.events() or [] if "foreach" in event.name]
    assert sorted(names) == ["aten::_foreach_copy_", "aten::_foreach_lerp_"]


def move(network: nn.Module) -> None:
    network.double().float()


def load(network: nn.Module) -> None:
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(state, assign=True)


@pytest.mark.parametrize("replace", [move, load])
@pytest.mark.parametrize("which", ["network", "teacher"])
def test_tensors_that_have_been_replaced_are_averaged(
    which: str, replace: Callable[[nn.Module], None]
) -> None:
    torch.manual_seed(0)
    network = Network()
    teacher = EMATeacher(network, decay=0.5, warmup=False)
    teacher.update(network, 0)
    replace(network if which == "network" else teacher)
    start, copies = as_numpy(teacher.module), copy.deepcopy(teacher)
    drift(network)
    for each in (teacher, copies):
        each.update(network, 1)
        for name, new in as_numpy(network).items():
            expected = (start[name] + new) / 2 if new.dtype.kind == "f" else new
            found = as_numpy(each.module)[name]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_network_without_parameters_or_buffers() -> None:
    EMATeacher(nn.Identity()).update(nn.Identity(), 0)
    linear = nn.Linear(1, 1)
    EMATeacher(linear).update(linear, 0)


@pytest.mark.parametrize("other", [nn.Linear(3, 1), nn.Linear(1, 3), nn.Linear(3, 3, bias=False)])
def test_network_of_another_structure_is_refused(other: nn.Linear) -> None:
    teacher = EMATeacher(nn.Linear(3, 3))
    before = copy.deepcopy(teacher.state_dict())
    with pytest.raises(ValueError, match="another structure"):
        teacher.update(other, 0)
    assert all(torch.equal(v, before[n]) for n, v in teacher.state_dict().items())


def test_frozen_tensors_stay_exactly_what_they_are() -> None:
    network = Network()
    teacher = EMATeacher(network, decay=0.999)
    for step in range(20):
        teacher.update(network, step)
    for own, given in zip(teacher.parameters(), network.parameters(), strict=True):
        assert torch.equal(own, given)


def test_what_is_frozen_for_good_is_averaged_as_long_as_its_average_is_another() -> None:
    network = Network()
    teacher = EMATeacher(network, decay=0.5, warmup=False)
    freeze(network.first)
    drift(network)  # as if other weights had been loaded
    old = [parameter.clone() for parameter in teacher.parameters()]
    teacher.update(network, 0)
    for own, begin, new in zip(teacher.parameters(), old, network.parameters(), strict=True):
        torch.testing.assert_close(own, (begin + new) / 2)
    teacher = EMATeacher(network, decay=0.5, warmup=False)
    freeze(network.norm)
    written = {name: value._version for name, value in teacher.module.state_dict().items()}
    teacher.update(network, 0)
    found = {name: value._version for name, value in teacher.module.state_dict().items()}
    left_alone = {name for name in found if found[name] == written[name]}
    assert left_alone == {name for name in found if not name.startswith("second")}


def test_two_steps_of_a_constant_decay_by_hand() -> None:
    source, teacher = nn.Linear(1, 1), EMATeacher(nn.Linear(1, 1), decay=0.9, warmup=False)
    with torch.no_grad():
        for module, value in ((source, 2.0), (teacher, 1.0)):
            for parameter in module.parameters():
                parameter.fill_(value)
    for step in range(2):
        teacher.update(source, step)
    for parameter in teacher.parameters():
        assert parameter.item() == pytest.approx(1.19, abs=1e-6)


def test_a_scheduled_decay_is_warmed_up_as_well() -> None:
    teacher = EMATeacher(nn.Linear(1, 1), decay=lambda step: 0.2 + 0.1 * step)
    assert [teacher.decay_at(step) for step in (0, 1, 20)] == pytest.approx([0.1, 2 / 11, 0.7])


def test_a_teacher_in_training_mode_follows_the_mode() -> None:
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3))
    teacher = EMATeacher(network, mode="train")
    for mode in (True, False):
        assert all(module.training is mode for module in teacher.train(mode).modules())
    outputs = teacher.train()(torch.ones(64, 3) * torch.arange(1, 4))
    assert not torch.equal(outputs[0], outputs[1])
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(ValueError, match="mode: found 'on'; must be one of eval, train"):
        EMATeacher(nn.Linear(1, 1), mode="on")
