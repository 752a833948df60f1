"""Weights under earlier names, or a part of another model's, serve wherever weights are read."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import fit, weights

import sesemi_like
from sesemi_like.errors import ConfigError
from sesemi_like.learners.checkpoints import tensor_names

NOW, EARLIER = "networks.modules_by_name.classifier.", "networks.modules_by_name.student."


@pytest.fixture
def renamed(finished_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run's folder whose checkpoint has an earlier name of the classifier."""
    pattern = (r"^networks\.modules_by_name\.student\.", NOW)
    monkeypatch.setattr(tensor_names, "RENAMED", (*tensor_names.RENAMED, pattern))
    folder = tmp_path / "earlier"
    shutil.copytree(finished_run[0], folder)
    path = folder / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {
        name.replace(NOW, EARLIER): tensor for name, tensor in content["state_dict"].items()
    }
    torch.save(content, path)
    return folder


def test_one_table_serves_every_way_of_reading(
    finished_run: Any, renamed: Path, tmp_path: Path
) -> None:
    learner = sesemi_like.load_model(renamed)
    expected = weights(finished_run[0])
    assert all(torch.equal(value, expected[n]) for n, value in learner.state_dict().items())
    last = renamed / "checkpoints" / "last.ckpt"
    _, summary = fit(
        tmp_path / "given", "run.mode=VALIDATE", f"run.pretrained_checkpoint_path={renamed}",
        "run.strict_loading=true",
    )  # fmt: skip
    assert summary["metrics"]["val/top1"] == finished_run[1]["metrics"]["val/top1"]
    assert summary["measured"]["val/top1"]["path"] == str(last)
    resumed, _ = fit(
        tmp_path / "resumed", "run.num_iterations=11", f"run.resume_from_checkpoint={last}"
    )
    assert set(weights(resumed)) == set(expected)


def test_networks_that_torch_compiled_have_their_own_names() -> None:
    names = ["networks.a._orig_mod.weight", "_orig_mod.b", "not_orig_mod.c"]
    found = tensor_names.translated(dict.fromkeys(names))
    assert list(found) == ["networks.a.weight", "b", "not_orig_mod.c"]


def test_a_part_of_a_file_is_taken_under_other_names(finished_run: Any, tmp_path: Path) -> None:
    state = weights(finished_run[0])
    backbone = {
        f"encoder.{name.removeprefix(f'{NOW}backbone.')}": tensor
        for name, tensor in state.items()
        if name.startswith(f"{NOW}backbone.")
    }
    path = tmp_path / "other.pt"
    torch.save({**backbone, "decoder.weight": torch.zeros(3)}, path)
    given = f"{{path: {path}, prefix: encoder, into: {NOW}backbone}}"
    folder, _ = fit(
        tmp_path / "x", f"run.pretrained_checkpoint_path={given}", "run.num_iterations=1",
        "learner.hparams.optimizer.lr=0", "learner.hparams.lr_scheduler=null", "data.val=null",
        "data.test=null",
    )  # fmt: skip
    found = weights(folder)
    names = [n for n, p in found.items() if n.startswith(f"{NOW}backbone.") and "weight" in n]
    assert names
    assert all(torch.equal(found[name], state[name]) for name in names)
    with pytest.raises(ConfigError, match=r"begins with 'enc'; they begin with encoder, decoder"):
        fit(tmp_path / "y", f"run.pretrained_checkpoint_path={{path: {path}, prefix: enc}}")
