"""The masked sum of divergences equals `segmi.information`, with gradients."""

import math

import pytest
import torch

from segmi.information import kl_divergence_of_logs
from segmi.losses.distillation._network_objectives import summed_divergence


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    log_p, log_q = (torch.randn(2, 4, 3, 5, generator=generator).double().log_softmax(1) for _ in range(2))
    return log_p, log_q.requires_grad_(), torch.rand(2, 3, 5, generator=generator) < 0.7


def test_value_and_gradient(maps):
    log_p, log_q, counted = maps
    plain = torch.where(counted, kl_divergence_of_logs(log_p, log_q, dim=1), 0.0).sum()
    found = summed_divergence(log_p, log_q, counted)
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(*(torch.autograd.grad(3 * one, log_q)[0] for one in (found, plain)))


def test_first_and_second_derivatives(maps):
    log_p, log_q, counted = maps

    def of(scores):
        return summed_divergence(log_p, scores.log_softmax(1), counted)

    assert torch.autograd.gradcheck(of, log_q)
    assert torch.autograd.gradgradcheck(of, log_q)


def test_class_of_probability_zero():
    log_p = torch.tensor([0.0, -math.inf]).view(1, 2, 1, 1)
    for log_q, expected in (([-1.0, -math.inf], 1.0), ([-2.0, -0.1], 2.0)):
        own = torch.tensor(log_q).view(1, 2, 1, 1).requires_grad_()
        found = summed_divergence(log_p, own, torch.ones(1, 1, 1, dtype=torch.bool))
        assert found.item() == pytest.approx(expected)
        assert torch.autograd.grad(found, own)[0].flatten().tolist() == [-1.0, 0.0]


def test_no_counted_pixel():
    own = torch.randn(1, 3, 2, 2).log_softmax(1).requires_grad_()
    found = summed_divergence(own.detach().flip(1), own, torch.zeros(1, 2, 2, dtype=torch.bool))
    assert found.item() == 0
    assert not torch.autograd.grad(found, own)[0].any()
