"""Where and how a run computes, on machines of every kind."""

import platform
import subprocess
import sys
import textwrap

import pytest
import torch

from sesemi_like.devices import choose_devices, choose_precision, tune_process
from sesemi_like.errors import ConfigError

RUN = {"gpus": 0, "num_nodes": 1, "accelerator": None, "precision": "auto"}


@pytest.mark.parametrize("has_bf16", [False, True])
def test_auto_takes_bf16_on_cpus_that_have_it(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool
) -> None:
    monkeypatch.setattr("sesemi_like.devices.cpu_has_bf16", lambda: has_bf16)
    assert choose_precision("auto", "cpu") == ("bf16-mixed" if has_bf16 else "32-true")


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 5), "32-true"), ((8, 0), "bf16-mixed"), (None, "32-true")]
)
def test_auto_takes_bf16_on_gpus_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None, precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert choose_precision("auto", "gpu") == precision


@pytest.mark.parametrize(
    ("asked", "accelerator", "chosen"),
    [("32", "gpu", "32-true"), ("bf16", "cpu", "bf16-mixed"), ("16", "gpu", "16-mixed")],
)
def test_a_precision_that_is_asked_for_is_taken(asked: str, accelerator: str, chosen: str) -> None:
    assert choose_precision(asked, accelerator) == chosen
    run = {**RUN, "precision": int(asked) if asked.isdigit() else asked}
    if accelerator == "cpu":
        assert choose_devices(run, {}).trainer_settings()["precision"] == chosen


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(ConfigError, match=r"run\.precision.*16 needs a GPU"):
        choose_devices({**RUN, "precision": 16}, {})


def test_tuning_twice_is_harmless() -> None:
    tune_process()
    tune_process()
    assert torch.get_float32_matmul_precision() == "high"
    assert torch.ones(3_000_000).sum() == 3_000_000


def test_the_precision_of_a_trainer_takes_precedence_over_that_of_the_run() -> None:
    assert choose_devices({**RUN, "precision": 16}, {"precision": "32-true"}).precision == "32-true"


def test_automatic_accelerators_have_the_precision_of_what_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sesemi_like.devices.cpu_has_bf16", lambda: True)
    chosen = choose_devices(RUN, {"accelerator": "auto"})
    assert (chosen.accelerator, chosen.precision) == ("cpu", "bf16-mixed")
    assert chosen == choose_devices(RUN, {})


@pytest.mark.parametrize("deterministic", [None, False, True])
def test_algorithms_are_not_tried_out_where_runs_must_repeat(deterministic: bool | None) -> None:
    chosen = choose_devices(RUN, {"accelerator": "gpu", "deterministic": deterministic})
    assert chosen.trainer_settings()["benchmark"] is (deterministic is not True)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tunes glibc's malloc")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    program = """
        import resource
        import torch
        from sesemi_like.devices import tune_process

        tune_process()
        for _ in range(3):
            torch.ones(2**24)  # 64 MiB
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(2**24)
        pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        assert pages < 1000, pages  # 163,840 if each were fetched anew
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
