import pytest
import torch

from segmi.losses import BinaryCrossEntropy, CrossEntropy, PerNetwork, RMILoss, WeightedSum
from segmi.types import Batch, Output

LOGITS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BATCH = Batch(LOGITS, torch.randint(3, (2, 8, 8), generator=torch.Generator().manual_seed(1)))
OUTPUTS = {"a": Output(LOGITS), "b": Output(-LOGITS)}


def test_keeps_every_term_with_its_weight() -> None:
    terms = WeightedSum([PerNetwork(CrossEntropy(), "ce"), PerNetwork(RMILoss(), "rmi", weight=0.5)])(OUTPUTS, BATCH)
    assert list(terms) == [
        "ce/a",
        "ce/b",
        "rmi.binary_cross_entropy/a",
        "rmi.region_mutual_information/a",
        "rmi.binary_cross_entropy/b",
        "rmi.region_mutual_information/b",
    ]
    assert terms["rmi.binary_cross_entropy/a"].weight == 0.25
    total = sum(term.weight * term.value for term in terms.values())
    expected = sum(CrossEntropy()(z, BATCH.labels) + 0.5 * RMILoss()(z, BATCH.labels) for z in (LOGITS, -LOGITS))
    torch.testing.assert_close(total, expected)


def test_denominators_equal_the_terms() -> None:
    objective = WeightedSum([PerNetwork(CrossEntropy(), "ce"), PerNetwork(BinaryCrossEntropy(), "bce")])
    expected = {name: term.denominator for name, term in objective(OUTPUTS, BATCH).items()}
    assert objective.denominators(OUTPUTS, BATCH) == expected


def test_equal_names_raise() -> None:
    with pytest.raises(ValueError, match=r"terms: expected different names, got ce/a, ce/b twice. Fix: rename"):
        WeightedSum([PerNetwork(CrossEntropy(), "ce"), PerNetwork(BinaryCrossEntropy(), "ce")])(OUTPUTS, BATCH)


def test_empty_sum_raises() -> None:
    with pytest.raises(ValueError, match="losses: expected at least one, got none"):
        WeightedSum([])


class Contrast(CrossEntropy):
    scope = "batch"


class Gathered(CrossEntropy):
    scope = "global"


def test_scope_is_the_strictest_of_the_losses() -> None:
    def scope(*losses: CrossEntropy) -> str:
        return WeightedSum([PerNetwork(loss, str(i)) for i, loss in enumerate(losses)]).scope

    assert scope(CrossEntropy()) == "image"
    assert scope(CrossEntropy(), Gathered()) == "global"
    assert scope(Gathered(), Contrast(), CrossEntropy()) == "batch"
