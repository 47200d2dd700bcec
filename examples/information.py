"""segmi.information alone: entropy, the mutual information of a table of counts, and that of Gaussian vectors."""

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
    """What a prediction tells about the truth, read off a confusion matrix: rows the truth, columns the prediction."""
    counts = torch.tensor([[50, 5, 5], [4, 20, 1], [9, 0, 6]])
    table = empirical_distribution(counts, dims=(-2, -1))  # joint probabilities
    truth, prediction = table.sum(-1), table.sum(-2)
    left = conditional_entropy(table, given="columns", base=2)
    told = mutual_information(table, base=2)
    print(f"entropy of the truth              {entropy(truth, base=2):.4f} bits")
    print(f"left when the prediction is known {left:.4f} bits")
    print(f"mutual information                {told:.4f} bits, their difference")
    print(f"divergence of the two marginals   {kl_divergence(truth, prediction, base=2):.4f} bits")


def gaussian() -> None:
    """What a noisy copy tells about its original: more noise, less information."""
    torch.manual_seed(0)
    original = torch.randn(20_000, 3, dtype=torch.float64)
    for noise in (2.0, 1.0, 0.5):
        copy = original + noise * torch.randn_like(original)
        covariance = torch.cov(torch.cat([copy, original], 1).T)  # the copy first, the original second
        nats = gaussian_mutual_information(covariance, split=3)
        expected = 1.5 * torch.log1p(torch.tensor(1 / noise**2))
        print(f"noise {noise:.1f}: {nats:.3f} nats, by the formula {expected:.3f}")


if __name__ == "__main__":
    discrete()
    gaussian()
