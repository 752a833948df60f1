"""Compiled networks: the same values, names and checkpoints; what cannot be compiled is told."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from tiny_runs import TINY, fit, weights
from torch import nn

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.learners.compilation import compile_networks
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.networks import Networks
from sesemi_like.models.norm import batch_norm
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

CPU = torch.device("cpu")


def networks() -> Networks:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    return Networks({"net": layers, "teacher": EMATeacher(layers, 0.5, warmup=False)}).double()


@pytest.mark.slow
def test_values_gradients_names_and_statistics_stay() -> None:
    plain, compiled = networks(), networks()
    compile_networks(compiled, {"backend": "aot_eager"}, CPU)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in compiled.named_parameters()] == [
        name for name, _ in plain.named_parameters()
    ]
    for rows in (5, 7, 5):
        inputs = torch.randn(rows, 3, dtype=torch.float64)
        for one in (plain, compiled):
            one["net"](inputs).square().mean().backward()
            with batch_norm(one.module("teacher"), "batch"):
                one["teacher"](inputs)
            teacher = one.module("teacher")
            assert isinstance(teacher, EMATeacher)
            teacher.update(one.module("net"), 0)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_a_copy_of_a_compiled_network_is_its_own() -> None:
    compiled = networks()
    compile_networks(compiled, {"backend": "eager"}, CPU)
    net = compiled.module("net")
    net(torch.zeros(2, 3, dtype=torch.float64))
    teacher, other = EMATeacher(net), copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    rows = torch.randn(4, 3, dtype=torch.float64)
    assert not other(rows).any()
    torch.testing.assert_close(teacher(rows), net.eval()(rows))
    assert net(rows).all()


@pytest.mark.slow
def test_checkpoints_of_compiled_and_plain_runs_are_interchangeable(tmp_path: Path) -> None:
    plain, _ = fit(tmp_path / "plain")
    compiled, _ = fit(tmp_path / "compiled", "run.compile={backend: eager}")
    end, same = weights(plain), weights(compiled)
    assert list(end) == list(same)
    assert all(torch.equal(value, same[name]) for name, value in end.items())
    last = f"run.resume_from_checkpoint={compiled}/checkpoints/last.ckpt"
    for number, setting in enumerate(("false", "{backend: eager}")):
        folder, _ = fit(
            tmp_path / str(number),
            last,
            f"run.compile={setting}",
            "run.num_iterations=12",
        )
        assert list(weights(folder)) == list(end)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"backend": "indcutor"}, "Invalid backend"),
        ({"mode": "fast"}, "Unrecognized mode"),
        ({"options": {"fast": True}}, "Unexpected optimization option"),
    ],
)
def test_what_the_compiler_does_not_take_is_a_config_problem(
    arguments: dict[str, Any], expected: str
) -> None:
    nets = networks()
    with pytest.raises(ConfigError, match=expected) as raised:
        compile_networks(nets, arguments, CPU)
    assert "run.compile" in str(raised.value)
    assert nets["net"](torch.zeros(2, 3, dtype=torch.float64)).shape == (2, 2)


def test_a_machine_without_a_compiler_is_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nTraceback ...")

    monkeypatch.setattr(nn.Module, "compile", fail)
    config = composed("quickstart", "run.gpus=0", "run.compile=true", f"run.dir={tmp_path}")
    with pytest.raises(ConfigError, match=r"No working C\+\+ compiler found; false compiles") as e:
        prepare(config)
    assert "Traceback" not in str(e.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("fast", "run.compile: found 'fast'; must be true, false, or a mapping"),
        ("{mod: default}", "did you mean 'mode'"),
        ("{mode: reduce-overhead}", "max-autotune-no-cudagraphs"),
        ("{mode: default, options: {trace.enabled: true}}", "only one of mode, options"),
        ("{options: {triton.cudagraphs: true}}", "uses CUDA graphs"),
    ],
)
def test_the_setting_is_checked_without_torch(setting: str, expected: str) -> None:
    config = composed("quickstart", f"run.compile={setting}")
    assert expected in "\n".join(map(str, check(config, MODES)))


@pytest.mark.parametrize("setting", ["true", "false", "null", "{backend: eager, dynamic: true}"])
def test_these_settings_are_right(setting: str) -> None:
    config = composed("quickstart", f"run.compile={setting}")
    assert not check(config, MODES)


def test_a_wrong_setting_is_reported_with_everything_else() -> None:
    config = composed("quickstart", *TINY, "run.compile=fast")
    with pytest.raises(ConfigError, match=r"run\.compile: found 'fast'"):
        run(config, check(config, MODES))
