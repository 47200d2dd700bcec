from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import segmi.losses
from segmi.errors import UsageError
from segmi.losses import LOSSES, ClassCounts, Loss, Objective, RMILoss, build_objective
from segmi.types import Batch, Output, Views


@pytest.mark.parametrize("name", LOSSES)
def test_every_name_builds(name: str) -> None:
    needed: dict[str, Any] = {"region_matched_bound": {"target": -1.0}}.get(name, {})
    if "features" in LOSSES[name].requires:
        needed = {"layers": {"a": "body", "b": "body"}}
    objective = build_objective({name: {"weight": 0.5, **needed}}, networks=["a", "b"], frozen=["b"])
    for part in objective.modules():
        if isinstance(part, ClassCounts):
            part.set_counts(torch.tensor([3, 1]))
    logits, labels, views = torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8), None
    if "two views" in objective.requires:
        logits, labels = torch.zeros(2, 2, 8, 8), torch.full((2, 8, 8), 255)
        views = Views(torch.ones(1, 8, 8, dtype=torch.bool), torch.tensor([True]))
    outputs = {k: Output(logits, {"body": torch.rand(1, 4, 4, 4)}) for k in "ab"}
    objective.prepare(outputs, seed=0)
    terms = objective(outputs, Batch(logits, labels, views=views))
    assert {network for key in terms for network in key.split("/")[1:]} <= {"a"}
    assert {key.split("/")[0].split(".")[0] for key in terms} == {name}
    assert {term.weight for term in terms.values()} == {0.5} or sum(term.weight for term in terms.values()) == 0.5


def test_options_reach_the_class() -> None:
    text = build_objective({"region_mutual_information": {"radius": 5, "variant": "corrected"}}, networks=["a"])
    assert text.losses[0].loss.config.radius == 5  # type: ignore[union-attr]
    pooled = build_objective({"rmi_loss": {"pooling": "average", "stride": 4}}, networks=["a"])
    assert pooled.losses[0].loss.region.config == RMILoss.as_published().region.config  # type: ignore[union-attr]
    build_objective({"cross_entropy": None}, networks=["a"])  # an empty entry of a YAML file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"specification": {"cross_entopy": {}}}, "unknown loss 'cross_entopy'.*did you mean 'cross_entropy'"),
        ({"specification": {"rmi_loss": {"radus": 3}}}, "rmi_loss: unknown option 'radus'.*did you mean 'radius'"),
        ({"specification": {"rmi_loss": {"radius": 0}}}, "loss rmi_loss: radius: expected an integer"),
        ({"specification": {"rmi_loss": {"stride": 4}}}, "rmi_loss: stride: expected 1 without pooling, got 4"),
        ({"specification": {"region_matched_bound": {}}}, "region_matched_bound: .*missing .*argument.* 'target'"),
        ({"specification": {"region_shuffled_labels": {"seed": 0.5}}}, "seed: expected an integer, got 0.5"),
        ({"specification": {"mutual_learning": {"frozen": []}}}, "unknown option 'frozen'"),
        ({"specification": {"cross_entropy": {"weight": "1"}}}, "cross_entropy, weight: expected a number, got '1'"),
        ({"specification": {"mutual_learning": {}}}, "mutual_learning: expected two or more networks"),
        ({"specification": {"jensen_shannon": {}}}, "jensen_shannon: expected two or more networks"),
        (
            {"specification": {"distillation": {}}},
            "distillation: expected a frozen network as the teacher, got only trained ones",
        ),
        ({"specification": {"pixel_contrast": {"layers": {"b": "body"}}}}, "unknown network under layers of .* 'b'"),
        ({"specification": {"pixel_contrast": {"layers": {}}}}, "layers: expected a layer of a trained network"),
        ({"specification": {}}, "expected at least one loss"),
        ({"specification": {"cross_entropy": {}}, "frozen": ["b"]}, "frozen: expected networks of the cohort, got b"),
        ({"specification": {"cross_entropy": {}}, "frozen": ["a"]}, "frozen: expected a network that is trained"),
    ],
)
def test_invalid_options_raise(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){message}"):
        build_objective(**arguments, networks=["a"])


def test_every_loss_of_a_file_is_in_the_table() -> None:
    """A loss in ``__all__`` of its file is forgotten unless the package of its family imports it."""
    files = Path(segmi.losses.__file__).parent.glob("*/[!_]*.py")
    modules = [import_module(f"segmi.losses.{path.parent.name}.{path.stem}") for path in files]
    public = {name: getattr(module, name) for module in modules for name in getattr(module, "__all__", ())}
    kinds = [kind for kind in public.values() if isinstance(kind, type) and issubclass(kind, Loss | Objective)]
    assert set(kinds) == set(LOSSES.values())
    assert {name: getattr(segmi.losses, name) for name in public} == public
    for name, kind in LOSSES.items():
        family = import_module(f"segmi.losses.{kind.family}")
        assert getattr(family, kind.__name__) is kind
        if "features" not in kind.requires:
            assert getattr(family, name) is public[name]  # the function, not the file of the same name
