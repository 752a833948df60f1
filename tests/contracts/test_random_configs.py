"""Over random configs: valid ones compose and build, broken ones end in one clear message."""

import contextlib
import io
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

import sesemi_like.run.execute
import sesemi_like.run.prepare
from sesemi_like.cli import command as cli
from sesemi_like.config.choices import EMA_KINDS, FORWARD_SETTINGS, REDUCTIONS
from sesemi_like.config.store import builtin_configs
from sesemi_like.errors import ConfigProblem

PROFILE = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # counterexamples are short; shrinking them takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MODEL = "learner.hparams.model"


def group(name: str) -> list[str]:
    """The choices of a config group."""
    return sorted(path.stem for path in (builtin_configs() / name).glob("*.yaml"))


def warmup_epochs(lr_scheduler: str) -> int:
    """The length of a schedule's warm-up; 0 without one."""
    config = OmegaConf.load(builtin_configs() / "lr_scheduler" / f"{lr_scheduler}.yaml")
    return OmegaConf.select(config, "scheduler.warmup_epochs") or 0


choices = st.fixed_dictionaries(
    {
        # The method `sesemi` reads a loader that the data of the quickstart lack.
        "method": st.sampled_from([name for name in group("method") if name != "sesemi"]),
        "optimizer": st.sampled_from(group("optimizer")),
        # A warm-up of several epochs is longer than the shortest of these runs.
        "lr_scheduler": st.sampled_from(
            [name for name in group("lr_scheduler") if not warmup_epochs(name)]
        ),
        "data.labels_per_class": st.integers(1, 100),
        "data.label_seed": st.integers(0, 9),
        "data.train.supervised.batch_size_per_gpu": st.integers(1, 64),
        "data.train.unlabeled.drop_last": st.booleans(),
        "data.train.unlabeled.repeat": st.integers(1, 4),
        "data.val.batch_size_per_gpu": st.integers(1, 512),
        "data.test": st.sampled_from(["null", "${data.val}"]),
        "run.num_iterations": st.integers(1, 1000),
        f"{MODEL}.forward": st.sampled_from(FORWARD_SETTINGS),
        f"{MODEL}.ema.kind": st.sampled_from(EMA_KINDS),
        f"{MODEL}.backbone.widths": st.sampled_from(["[4]", "[4,8]"]),
        f"{MODEL}.supervised_loss.reduction": st.sampled_from(REDUCTIONS),
        "++learner.hparams.optimizer.lr": st.floats(1e-5, 1.0),
    }
)  # fmt: skip

BREAKS = {
    "run.num_iterations": ["-1", "ten", "0"],
    "run.num_epochs": ["3"],  # beside num_iterations
    "run.nun_epochs": ["3"],
    "run.mode": ["TRAIN"],
    "run.gpus": ["a", "-7"],
    "method": ["fixmtach"],
    "optimizer": ["sdg"],
    "data.labels_per_class": ["100000", "many", "0"],
    "data.num_labels": ["40"],  # beside labels_per_class
    "data.train.unlabeled.dataset.name": ["digitz"],
    "data.train.unlabeled.dataset.subset": ["trian"],
    "data.train.unlabeled.dataset.part": ["everything"],
    "data.train.supervised.batch_size": ["32"],  # beside batch_size_per_gpu
    "data.train.supervised.sampler": ["balanced"],
    "data.train.supervised.views.image._target_": ["sesemi_like.views.Compse"],
    "learner.hparams.num_classes": ["9", "ten"],
    f"{MODEL}.backbone.widhts": ["[4]"],
    f"{MODEL}.backbone._target_": ["sesemi_like.models.backbones.SmallNet"],
    f"{MODEL}.supervised_loss.input_data": ["labelled"],
    f"{MODEL}.supervised_loss.reduction": ["max"],
    f"{MODEL}.ema.decay": ["2"],
    f"{MODEL}.forward": ["both"],
    "learner.hparams.optimizer._target_": ["torch.optim.SDG"],
}
broken = st.sampled_from([(key, value) for key, values in BREAKS.items() for value in values])


def outcome(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], then: Callable[..., Any]
) -> tuple[int | str, str]:
    """Runs the command up to the point where training would start; its exit code and message."""
    monkeypatch.setattr(sys, "argv", ["open_cli", "-cn", "quickstart", "run.gpus=0", *overrides])
    monkeypatch.setattr(sesemi_like.run.execute, "run", then)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    errors = io.StringIO()
    code: int | str = 0
    with contextlib.redirect_stderr(errors):
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
    return code, errors.getvalue()


def build(config: DictConfig, problems: list[ConfigProblem]) -> dict[str, None]:
    sesemi_like.run.prepare.prepare(config, problems)
    return {"headline": None}


@PROFILE
@given(choices)
def test_valid_configs_compose_and_build(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, Any]
) -> None:
    overrides = [f"{key}={value}" for key, value in chosen.items()]
    assert outcome(monkeypatch, overrides, build) == (0, "")


@PROFILE
@given(choices, broken)
def test_broken_configs_end_in_one_clear_message(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    chosen: dict[str, Any],
    wrong: tuple[str, str],
) -> None:
    key, value = wrong
    valid = {k: v for k, v in chosen.items() if k != key}
    folder = tmp_path_factory.mktemp("runs")
    overrides = [*(f"{k}={v}" for k, v in valid.items()), f"{key}={value}", f"run.dir={folder}"]
    code, message = outcome(monkeypatch, overrides, build)
    assert code == 1
    assert "in the configuration" in message
    assert "Traceback" not in message
    assert key.rpartition(".")[0] in message
    assert value in message
    assert not list(folder.glob("*/*"))
