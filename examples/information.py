"""Compute entropies and mutual information of a table of counts and of Gaussian vectors with segmi.information."""

import torch

from segmi.information import (
    conditional_entropy,
    empirical_distribution,
    entropy,
    gaussian_mutual_information,
    kl_divergence,
    mutual_information,
)


def discrete() -> None:
    """Print the mutual information of truth (rows) and prediction (columns) of a confusion matrix."""
    counts = torch.tensor([[50, 5, 5], [4, 20, 1], [9, 0, 6]])
    table = empirical_distribution(counts, dims=(-2, -1))  # joint probabilities
    truth, prediction = table.sum(-1), table.sum(-2)
    remaining = conditional_entropy(table, given="columns", base=2)
    information = mutual_information(table, base=2)
    print(f"entropy of the truth              {entropy(truth, base=2):.4f} bits")
    print(f"entropy given the prediction      {remaining:.4f} bits")
    print(f"mutual information                {information:.4f} bits, the difference")
    print(f"divergence of the two marginals   {kl_divergence(truth, prediction, base=2):.4f} bits")


def gaussian() -> None:
    """Print the mutual information of a noisy copy and its original for several noise levels."""
    torch.manual_seed(0)
    original = torch.randn(20_000, 3, dtype=torch.float64)
    for noise in (2.0, 1.0, 0.5):
        copy = original + noise * torch.randn_like(original)
        covariance = torch.cov(torch.cat([copy, original], 1).T)  # copy first, original second
        nats = gaussian_mutual_information(covariance, split=3)
        expected = 1.5 * torch.log1p(torch.tensor(1 / noise**2))
        print(f"noise {noise:.1f}: {nats:.3f} nats, exact {expected:.3f}")


if __name__ == "__main__":
    discrete()
    gaussian()
