"""Joined or separate forwards: trying changes nothing, and the choice changes speed alone."""

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from processes import in_processes
from torch import nn

from sesemi_like.distributed import all_sum
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.joining import is_joined_faster, joined_where_exact, without_inexact
from sesemi_like.models.backbones.base import Backbone, global_average
from sesemi_like.models.heads.loss.base import Forward
from sesemi_like.models.networks import Networks
from sesemi_like.run.execute import run
from sesemi_like.run.prepare import prepare

REQUESTS = {"h": {"a": Forward("a.x", "net"), "b": Forward("b.x", "net")}}
BATCH = {"a.x": torch.randn(4, 3), "b.x": torch.randn(6, 3)}
SMALL = ["run.gpus=0", "run.num_iterations=2", "learner.hparams.model.backbone.widths=[4,8]"]


class Timed(nn.Module):
    """Advances a clock with each call and row, and has everything that a trial could disturb."""

    def __init__(self, per_call: float, per_row: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout())
        self.per_call, self.per_row, self.seconds = per_call, per_row, 0.0

    def forward(self, rows: Any) -> Any:
        self.seconds += self.per_call + self.per_row * len(rows) ** 2
        return self.layers(rows)

    def clock(self) -> float:
        return self.seconds


def both_plans(networks: Networks) -> tuple[ForwardPlan, ForwardPlan]:
    """The separate plan and the joined one."""
    return (
        ForwardPlan(REQUESTS, networks, joined=False),
        ForwardPlan(REQUESTS, networks, joined=True),
    )


@pytest.mark.parametrize(
    ("per_call", "per_row", "faster"),
    [
        (1, 0, True),  # one call instead of two
        (0, 1, False),  # (4 + 6)^2 instead of 4^2 + 6^2
        (1, 0.02, False),  # 3 instead of 3.04, which is too little to gain
        (1, 0.01, True),  # 2 instead of 2.52
    ],
)
def test_the_faster_way_is_found_and_nothing_is_disturbed(
    per_call: float, per_row: float, faster: bool
) -> None:
    network = Timed(per_call, per_row)
    networks = Networks({"net": network})
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert is_joined_faster(*both_plans(networks), BATCH, nullcontext(), network.clock) is faster
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, before[name]) for name, value in networks.state_dict().items())
    assert all(parameter.grad is None for parameter in networks.parameters())


class Unstackable(nn.Module):
    """Returns something that is not one row for each row of its input."""

    def __init__(self, extra: Any) -> None:
        super().__init__()
        self.extra = extra
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))

    def forward(self, rows: Any) -> Any:
        return {"rows": self.layers(rows), "extra": self.extra}


@pytest.mark.parametrize("extra", [None, 1.5, torch.tensor(1.0), torch.zeros(3)])
def test_outputs_that_cannot_be_joined_stay_separate(
    extra: Any, caplog: pytest.LogCaptureFixture
) -> None:
    networks = Networks({"net": Unstackable(extra)})
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    plans = both_plans(networks)
    with caplog.at_level("INFO"):
        assert is_joined_faster(*plans, BATCH, nullcontext()) is False
    assert "forwards stay separate" in caplog.text
    assert all(torch.equal(value, before[name]) for name, value in networks.state_dict().items())
    with pytest.raises(ValueError, match=r"model\.forward: separate"):
        plans[1].run(BATCH)


class WithoutBatchNorm(Backbone):
    """Rows do not see each other."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(1, 4), nn.ReLU())
        self.out_features = 4

    def forward(self, images: Any) -> Any:
        return global_average(self.layers(images))


WITHOUT_BATCHNORM = [f"learner.hparams.model.backbone._target_={__name__}.WithoutBatchNorm"]


def learner_with(forward: Any, tmp_path: Path, *overrides: str) -> Any:
    config = composed(
        "quickstart", *SMALL, f"learner.hparams.model.forward={forward}", f"run.dir={tmp_path}",
        *overrides,
    )  # fmt: skip
    return config, prepare(config)


@pytest.mark.parametrize("forward", ["separate", "joined", "together"])
def test_the_config_decides_how_forwards_are_run(forward: str, tmp_path: Path) -> None:
    _, prepared = learner_with(forward, tmp_path)
    assert prepared.learner.plan.joined is (forward != "separate")
    assert prepared.learner.plan.together is (forward == "together")
    assert prepared.learner.forward_in_use == forward


@pytest.mark.parametrize("faster", [False, True])
def test_auto_decides_at_the_first_batch_and_a_resumed_run_keeps_to_it(
    faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trials = []
    monkeypatch.setattr(
        "sesemi_like.learners.joining.is_joined_faster", lambda *_: trials.append(1) or faster
    )
    config, _ = learner_with("auto", tmp_path, *WITHOUT_BATCHNORM)
    run(config)
    (checkpoint,) = tmp_path.glob("*/*/checkpoints/last.ckpt")
    way = "joined" if faster else "separate"
    assert torch.load(checkpoint, weights_only=True)["forward"] == way
    config.run.resume_from_checkpoint, config.run.num_iterations = str(checkpoint), 3
    run(config)
    assert len(trials) == 1
    assert "goes on as before" not in caplog.text
    other = "separate" if faster else "joined"
    config.learner.hparams.model.forward = other
    config.data.val = config.data.test = None
    run(config)
    assert f"model.forward: {way} goes on as before" in caplog.text


def test_auto_never_joins_what_batchnorm_would_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast it is: nothing that changes what is learned depends on a clock."""
    monkeypatch.setattr("sesemi_like.learners.joining.is_joined_faster", lambda *_: True)
    config, _ = learner_with("auto", tmp_path)
    run(config)
    (checkpoint,) = tmp_path.glob("*/*/checkpoints/last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["forward"] == "separate"


class BatchMean(nn.Module):
    """Reads the whole batch, and is no BatchNorm."""

    def forward(self, rows: Any) -> Any:
        return rows - rows.mean(dim=0)


class Counting(nn.Module):
    """Keeps count of its calls in a buffer."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, rows: Any) -> Any:
        self.calls += 1
        return rows


def frozen(module: Any) -> Any:
    return module.eval()


LAYERS = {
    "layer norm": (nn.LayerNorm(3), True),
    "group norm": (nn.GroupNorm(1, 3), True),
    "frozen batch norm": (frozen(nn.BatchNorm1d(3)), True),
    "dropout of nothing": (nn.Dropout(0), True),
    "frozen dropout": (frozen(nn.Dropout(0.5)), True),
    "batch norm": (nn.BatchNorm1d(3), False),
    "lazy batch norm": (nn.LazyBatchNorm1d(), False),
    "synchronized batch norm": (nn.SyncBatchNorm(3), False),
    "tracking instance norm": (nn.InstanceNorm1d(3, track_running_stats=True), False),
    "dropout": (nn.Dropout(0.5), False),
    "looks at the batch": (BatchMean(), False),
    "counts calls": (Counting(), False),
    "none of a row each": (nn.Flatten(0), False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_rows_are_joined_only_where_each_gives_what_it_gives_alone(name: Any) -> None:
    layer, joins = LAYERS[name]
    networks = Networks({"net": nn.Sequential(nn.Linear(3, 3), layer)})
    separate = ForwardPlan(REQUESTS, networks)
    draws = torch.get_rng_state()
    before = {
        key: value.clone() for key, value in networks.state_dict().items() if "lazy" not in name
    }
    joined = joined_where_exact(separate)
    found = without_inexact(separate, joined, BATCH) if joined.stacked else joined
    assert found.stacked == ({"net"} if joins else set())
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(torch.equal(networks.state_dict()[key], value) for key, value in before.items())


def test_networks_are_joined_each_for_itself() -> None:
    nets = {
        "net": nn.Sequential(nn.Linear(3, 3)),
        "other": nn.Sequential(nn.Linear(3, 3), nn.Dropout()),
    }
    networks = Networks(nets)
    requests = {"h": {f"{d}{net}": Forward(f"{d}.x", net) for d in "ab" for net in nets}}
    separate = ForwardPlan(requests, networks)
    joined = without_inexact(separate, joined_where_exact(separate), BATCH)
    assert joined.stacked == {"net"}
    assert joined.num_calls == 3


@pytest.mark.parametrize(("norm", "joins"), [("update", False), ("batch", False), ("eval", True)])
def test_batchnorm_keeps_rows_apart_where_it_reads_the_batch(norm: Any, joins: bool) -> None:
    networks = Networks({"net": nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))})
    requests = {"h": {name: Forward(f"{name}.x", "net", norm=norm) for name in "ab"}}
    separate = ForwardPlan(requests, networks)
    joined = joined_where_exact(separate)
    assert joined.stacked == ({"net"} if joins else set())
    for name, rows in joined.run(BATCH)["h"].items():
        torch.testing.assert_close(rows, separate.run(BATCH)["h"][name])


class WithLayer(nn.Module):
    """A loss head as the networks know it: its layer has statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


def test_trying_disturbs_no_layer_of_a_head_either() -> None:
    head, networks = WithLayer(), Networks({"net": Timed(1, 0)})
    networks.heads = {"h": head}
    asked = {name: Forward(Forward(f"{name}.x", "net"), "heads.h.layer") for name in "ab"}
    separate = ForwardPlan({"h": asked}, networks)
    joined = separate.variant(joined=True)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    is_joined_faster(separate, joined, BATCH, nullcontext())
    without_inexact(separate, joined, BATCH)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def choose_in_two_processes(rank: int, folder: Path, fails: bool) -> None:
    """Joining is faster on both processes, unless it fails on the second one."""
    torch.distributed.init_process_group("gloo")
    network = Timed(1, 0)
    networks = Networks({"net": Unstackable(None) if fails and rank == 1 else network})
    chosen = is_joined_faster(*both_plans(networks), BATCH, nullcontext(), network.clock)
    (folder / str(rank)).write_text(str(chosen))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("fails", [True, False])
def test_rows_are_joined_only_where_that_works_on_all_processes(
    fails: bool, tmp_path: Path
) -> None:
    in_processes(choose_in_two_processes, tmp_path, fails)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == [str(not fails)] * 2


class Together(nn.Module):
    """A network that waits for the other process in each call, which joining slows down there."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.layer, self.rank, self.seconds, self.calls = nn.Linear(3, 3), rank, 0.0, 0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        total = all_sum(rows.detach().sum())
        # Two calls take 2 s; one of all rows takes 1 s here, and on the other process 2.5 s.
        self.seconds += 2.5 if self.rank and len(rows) == 10 else 1.0
        return self.layer(rows) + total

    def clock(self) -> float:
        return self.seconds


def try_together(rank: int, folder: Path) -> None:
    """Joining is faster on the first process and slower on the second one."""
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=20))
    network = Together(rank)
    plans = both_plans(Networks({"net": network}))
    chosen = is_joined_faster(*plans, BATCH, nullcontext(), network.clock)
    total = all_sum(torch.tensor(network.calls))
    (folder / str(rank)).write_text(f"{chosen} {network.calls * 2 == total}")
    torch.distributed.destroy_process_group()


def test_processes_that_wait_for_each_other_in_a_call_try_it_equally_often(tmp_path: Path) -> None:
    in_processes(try_together, tmp_path)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["False True"] * 2


class ExactOnOne(nn.Module):
    """A network whose rows depend on each other on one of two processes alone."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.layer, self.rank = nn.Linear(3, 3), rank

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layer(rows - rows.mean(dim=0)) if self.rank else self.layer(rows)


def drop_in_two_processes(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=20))
    separate, joined = both_plans(Networks({"net": ExactOnOne(rank)}))
    found = without_inexact(separate, joined, BATCH)
    (folder / str(rank)).write_text(str(sorted(found.stacked)))
    torch.distributed.destroy_process_group()


def test_processes_agree_on_what_is_exact(tmp_path: Path) -> None:
    in_processes(drop_in_two_processes, tmp_path)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["[]"] * 2


def gradients(learner: Any, batch: Any) -> Any:
    learner.zero_grad()
    learner.training_step(batch, 0).backward()
    return [p.grad.clone() for p in learner.networks.parameters() if p.grad is not None]


def test_with_batchnorm_in_eval_mode_both_ways_learn_the_same(tmp_path: Path) -> None:
    """Statistics of a batch are the one thing that rows of a joined forward share."""
    _, prepared = learner_with("joined", tmp_path)
    learner, batch = prepared.learner, prepared.data.first_step()

    def gradients_by(forward: str) -> list[torch.Tensor]:
        learner.settings["model"]["forward"] = forward
        assert learner.make_plan(prepared.data.fields).joined is (forward == "joined")
        return gradients(learner, batch)

    learner.networks.eval()
    separate, joined = gradients_by("separate"), gradients_by("joined")
    for a, b in zip(joined, separate, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    learner.networks.train()
    in_train_mode = gradients(learner, batch)
    assert any(not torch.allclose(a, b) for a, b in zip(in_train_mode, joined, strict=True))


def test_a_network_without_gradients_can_be_tried() -> None:
    network = Timed(1, 0)
    networks = Networks({"net": network.requires_grad_(False)})
    assert is_joined_faster(*both_plans(networks), BATCH, nullcontext(), network.clock)
