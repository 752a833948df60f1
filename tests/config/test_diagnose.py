"""What is wrong with a command line is reported by key, all of it, and nothing that is right."""

from pathlib import Path

import pytest

from sesemi_like.config.diagnose import composition_problems
from sesemi_like.config.resolvers import register_resolvers
from sesemi_like.run.modes import MODES


def reported(
    *overrides: str, name: str = "quickstart", folder: str | None = None
) -> dict[str, str]:
    """The problems of a command line by their keys."""
    register_resolvers()
    problems = composition_problems(ValueError("unexplained"), name, folder, overrides, MODES)
    return {problem.key: problem.expected for problem in problems}


@pytest.mark.parametrize("key", ["data.val", "data.val.dataset", "run.seed"])
def test_a_key_that_cannot_be_removed_is_said_to_take_null(key: str) -> None:
    assert reported(f"~{key}") == {key: f"a key that is always there; {key}=null empties it"}


def test_removing_what_is_not_there_proposes_what_is() -> None:
    assert "did you mean 'val'" in reported("~data.vall")["data.vall"]
    key = "learner.hparams.optimizer.momentun"
    assert "did you mean 'momentum'" in reported(f"~{key}")[key]


@pytest.mark.parametrize(
    "right",
    [
        "data.train.supervised.pin_memory=true",
        "data.val.prefetch_factor=4",
        "learner.hparams.model.regularization_loss_heads.fixmatch.scheduler=null",
        "learner.hparams.lr_scheduler.name=rate",
        "+data.val.dataset.cache=ram",
        "~learner.hparams.optimizer.momentum",
    ],
)
def test_right_keys_beside_a_wrong_one_are_not_accused(right: str) -> None:
    assert list(reported("run.sede=1", right)) == ["run.sede"]


def test_right_keys_beside_a_wrong_one_in_a_file_are_not_accused(tmp_path: Path) -> None:
    (tmp_path / "custom.yaml").write_text("defaults: [base]\nrun: {sede: 1}\n")
    found = reported("data.val.pin_memory=true", name="custom", folder=str(tmp_path))
    assert list(found) == ["run.sede"]


def test_keys_below_a_mapping_of_the_same_command_line_are_not_accused() -> None:
    train = "data.train={supervised: {dataset: {name: digits}}}"
    found = reported(
        train, "data.train.supervised.shuffle=true", "run.sede=1", name="sesemi_config"
    )
    assert list(found) == ["run.sede"]


def test_several_values_without_a_sweep_are_reported_with_everything_else() -> None:
    found = reported("run.seed=1,2", "run.sede=1", "method=null", "optimizer=sdg")
    assert set(found) == {"run.seed", "run.sede", "method", "optimizer"}
    assert "--multirun" in found["run.seed"]
    assert "[1,2]" in found["run.seed"]
    assert "~method" in found["method"]


def test_words_that_are_no_overrides_say_what_they_should_be() -> None:
    assert reported("run.seed") == {"command line": "needs key=value, group=choice or ~key"}


def test_the_name_of_a_config_alone_says_how_it_is_taken() -> None:
    assert reported("imagewoof") == {"command line": "-cn imagewoof takes the config of that name"}


def test_a_second_choice_of_a_group_says_how_it_is_made() -> None:
    assert "without +" in reported("+optimizer=adam")["-cn quickstart"]


def test_what_hydra_says_beyond_the_first_line_is_reported() -> None:
    assert "+optimizer@x=sgd" in reported("optimizer@x=sgd")["-cn quickstart"]


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "custom.yaml"
    file.write_bytes("defaults: [base]\nrun: {id: café}\n".encode("latin-1"))
    assert reported(name="custom", folder=str(tmp_path)) == {str(file): "is not UTF-8"}


def test_adding_what_is_there_says_how_it_is_changed() -> None:
    assert "run.seed=1 changes it" in reported("+run.seed=1")["run.seed"]


def test_a_file_that_starts_from_the_built_in_one_it_covers_is_named(tmp_path: Path) -> None:
    file = tmp_path / "base.yaml"
    file.write_text("defaults: [base]\nrun: {id: mine}\n")
    for name in ("base", "imagewoof"):
        found = reported(name=name, folder=str(tmp_path))
        assert "rename the file" in found[str(file)]


def test_a_missing_choice_of_a_group_within_a_group_lists_the_choices_of_that_one() -> None:
    found = reported("protocol=classic")["backbone/classic"]
    assert "choices of backbone/classic: cifar10, cifar100, stl10, svhn" in found
