from typing import Any

import torch
from torch import nn

from segmi.losses import CrossEntropy, Diagnostic, PerNetwork, Term
from segmi.types import Batch, Output

LOGITS = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BATCH = Batch(LOGITS, torch.randint(3, (4, 8, 8), generator=torch.Generator().manual_seed(1)))


def test_term_without_count_is_zero() -> None:
    numerator = torch.zeros((), requires_grad=True)
    value = Term(numerator, torch.zeros(())).value
    value.backward()
    assert value == 0


def test_frozen_networks_get_no_term() -> None:
    terms = PerNetwork(CrossEntropy(), "ce", weight=2.0, frozen=("b",))({k: Output(LOGITS) for k in "ab"}, BATCH)
    assert list(terms) == ["ce/a"]
    assert terms["ce/a"].weight == 2.0
    torch.testing.assert_close(terms["ce/a"].value, CrossEntropy()(LOGITS, BATCH.labels))


def test_any_callable_loss_counts_by_images() -> None:
    objective = PerNetwork(nn.CrossEntropyLoss(), "ce")
    outputs = {"a": Output(LOGITS)}
    term = objective(outputs, BATCH)["ce/a"]
    assert term.denominator == 4
    torch.testing.assert_close(term.value, nn.CrossEntropyLoss()(LOGITS, BATCH.labels))
    assert objective.denominators(outputs, BATCH) == {"ce/a": term.denominator}


def test_callable_losses_need_no_gpu_synchronization(no_synchronization: Any) -> None:
    batch, logits = BATCH.to("meta"), LOGITS.to("meta").requires_grad_()
    with no_synchronization() as found:
        PerNetwork(nn.CrossEntropyLoss(), "ce")({"a": Output(logits)}, batch)["ce/a"].value.backward()
    assert found == []


def test_diagnostics_are_named_like_their_term() -> None:
    class Shows(CrossEntropy):
        def term(self, logits: torch.Tensor, labels: torch.Tensor) -> Term:
            one = torch.ones(())
            return super().term(logits, labels)._replace(diagnostics={"seen": Diagnostic(2 * one, one)})

    terms = PerNetwork(Shows(), "ce", weight=0.5)({k: Output(LOGITS) for k in "ab"}, BATCH)
    assert {name: list(term.diagnostics) for name, term in terms.items()} == {
        "ce/a": ["seen/ce/a"],
        "ce/b": ["seen/ce/b"],
    }
    assert dict(CrossEntropy().term(LOGITS, BATCH.labels).diagnostics) == {}
