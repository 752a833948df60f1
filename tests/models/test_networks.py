"""Networks by name, by other names and by their methods."""

import pytest
import torch
from torch import nn

from sesemi_like.models.backbones import SmallConvNet
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.heads import LinearHead
from sesemi_like.models.networks import ClassificationNetwork, Networks


class Encoder(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 2)
        self.note = "text"

    def project(self, inputs: torch.Tensor) -> torch.Tensor:
        return self(inputs) * 2


@pytest.fixture
def classifier() -> ClassificationNetwork:
    return ClassificationNetwork(SmallConvNet(in_chans=1, widths=(4,)), LinearHead(4, 3))


@pytest.fixture
def networks(classifier: ClassificationNetwork) -> Networks:
    return Networks(
        {"classifier": classifier, "encoder": Encoder()},
        aliases={"backbone": "classifier", "student": "encoder"},
    )


def test_names_and_what_they_stand_for(
    networks: Networks, classifier: ClassificationNetwork
) -> None:
    assert networks.names == ["classifier", "encoder", "backbone", "student"]
    assert networks["classifier"] is networks["backbone"] is classifier
    assert networks.canonical("student.project") == "encoder.project"
    assert networks.canonical("encoder") == "encoder"
    assert networks.module("student.project") is networks["encoder"]


def test_a_method_of_a_network_is_called_by_name(networks: Networks) -> None:
    inputs = torch.randn(2, 3)
    expected = networks["encoder"](inputs) * 2
    assert torch.equal(networks["student.project"](inputs), expected)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("classifier", True),
        ("backbone", True),
        ("encoder.project", True),
        ("student.project", True),
        ("teacher", False),
        ("encoder.embed", False),
        ("classifier.head", True),
        ("backbone.backbone.blocks", False),
        ("heads", False),
        ("heads.pull", False),
        ("heads.push.layer", False),
        ("encoder.note", False),
        ("teacher.project", False),
        ("", False),
    ],
)
def test_contains(networks: Networks, name: str, known: bool) -> None:
    assert (name in networks) is known


def test_unknown_network_is_a_key_error(networks: Networks) -> None:
    with pytest.raises(KeyError):
        networks["teacher"]


def test_feature_size_by_any_name(networks: Networks) -> None:
    assert networks.feature_size("classifier") == networks.feature_size("backbone") == 4
    assert networks.feature_size("encoder.project") == 2


def test_feature_size_of_a_network_that_does_not_know() -> None:
    with pytest.raises(AttributeError, match="out_features"):
        Networks({"plain": nn.ReLU()}).feature_size("plain")


def test_networks_are_trained_and_saved_once_each(networks: Networks) -> None:
    names = [name for name, _ in networks.named_parameters()]
    assert len(names) == len(set(names)) == len(list(networks.parameters()))
    assert {name.split(".")[1] for name in names} == {"classifier", "encoder"}


def test_classification_network_return_features_and_their_logits(
    classifier: ClassificationNetwork,
) -> None:
    images = torch.randn(2, 1, 8, 8)
    classifier.eval()
    outputs = classifier(images)
    assert set(outputs) == {"features", "logits"}
    features = classifier.backbone(images)
    weight, bias = classifier.head.weight, classifier.head.bias
    assert torch.equal(outputs["features"], features)
    torch.testing.assert_close(outputs["logits"], features @ weight.T + bias)
    assert classifier.out_features == 4


def test_teacher_of_a_classifier_returns_the_same(classifier: ClassificationNetwork) -> None:
    networks = Networks({"classifier": classifier, "teacher": EMATeacher(classifier)}).eval()
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(networks["teacher"](images), networks["classifier"](images))
    assert networks.feature_size("teacher") == 4


def test_logits_are_float32_in_half_precision(classifier: ClassificationNetwork) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert classifier(torch.zeros(2, 1, 8, 8))["logits"].dtype == torch.float32


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_converted_networks_return_logits_of_float32_or_better(
    classifier: ClassificationNetwork, kind: torch.dtype
) -> None:
    outputs = classifier.to(kind)(torch.rand(2, 1, 8, 8, dtype=kind))
    assert outputs["logits"].dtype == torch.promote_types(kind, torch.float32)


def test_logits_are_computed_in_float32_in_half_precision(
    classifier: ClassificationNetwork,
) -> None:
    images = torch.rand(16, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = classifier.eval()(images)
    assert outputs["features"].dtype == torch.bfloat16
    expected = classifier.head(outputs["features"].float())
    torch.testing.assert_close(outputs["logits"], expected, rtol=0, atol=1e-6)
    assert (outputs["logits"] != outputs["logits"].bfloat16()).float().mean() > 0.9


class Taught(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def twice(self, inputs: torch.Tensor) -> torch.Tensor:
        return 2 * inputs


def test_parts_and_methods_of_a_teacher_are_those_of_the_average() -> None:
    source = Taught()
    teacher = EMATeacher(source)
    networks = Networks({"teacher": teacher})
    assert isinstance(teacher.module, Taught)
    assert networks["teacher.layer"] is teacher.module.layer
    assert torch.equal(networks["teacher.twice"](torch.ones(1)), torch.tensor([2.0]))
    assert networks.module("teacher.layer") is networks.module("teacher.twice") is teacher
    assert "teacher.update" not in networks


def test_layers_of_loss_heads_are_found_but_belong_to_the_learner() -> None:
    head, networks = Taught(), Networks({"encoder": Encoder()})
    networks.heads = {"pull": head}
    assert networks["heads.pull.layer"] is networks.module("heads.pull.layer") is head.layer
    assert networks.module("heads.pull.twice") is head
    assert networks.names == ["encoder", "heads.pull.layer"]
    assert not any("layer" in name for name in networks.state_dict())


def test_a_part_of_a_part_is_the_deepest_module(networks: Networks) -> None:
    classifier = networks["classifier"]
    assert networks["backbone.backbone"] is networks.module("backbone.backbone")
    assert networks.module("backbone.head") is classifier.head  # type: ignore[attr-defined]
    assert networks.feature_size("classifier.backbone") == 4
