# %% [markdown]
# # Estimating mutual information
#
# Mutual information has a formula only for known distributions. From samples it is estimated, and every estimator is
# biased for some distributions. This notebook compares estimates with known values: tables of counts, Gaussian
# vectors, trained bounds, and the dependent pixels of images. All values are in nats.

# %%
import math

import matplotlib.pyplot as plt
import pandas as pd
import torch

from segmi.information import (
    barber_agakov_bound,
    conditional_prediction_mutual_information,
    gaussian_mutual_information,
    info_nce,
    ksg_mutual_information,
    label_entropy,
    mutual_information_of_counts,
    nguyen_wainwright_jordan,
    prediction_mutual_information,
    prediction_sums,
    soft_confusion_mutual_information,
)
from segmi.information.estimation import estimate
from segmi.information.laws import GaussianFields, GaussianLaw, windows

_ = torch.manual_seed(0)

# %% [markdown]
# ## Tables of counts
#
# The plug-in estimate puts the frequencies of a sample into the formula. For independent variables the truth is 0,
# but the estimate is larger, by (R - 1)(C - 1) / 2n on average for n draws of a table with R rows and C columns. The
# corrected estimate removes most of this bias.

# %%
rows = {}
for n in (50, 100, 200, 400, 800, 1600):
    draws = torch.multinomial(torch.ones(25), 300 * n, replacement=True).view(300, n)
    counts = torch.nn.functional.one_hot(draws, 25).sum(1).view(300, 5, 5)
    plain, corrected = (
        torch.stack([mutual_information_of_counts(table, correction=kind) for table in counts]).mean().item()
        for kind in ("none", "miller_madow")
    )
    rows[n] = {"plug-in": plain, "corrected": corrected, "(R - 1)(C - 1) / 2n": 16 / (2 * n)}
pd.DataFrame(rows).T.rename_axis("draws").round(4)

# %% [markdown]
# ## Parts of a prediction's information
#
# A class drawn from a network's prediction has information about its pixel. One part is about the label, the rest
# distinguishes pixels of one label. The third line is a lower bound on the information of image and label, which
# training with cross-entropy maximizes. All of them are functions of the same sums over pixels.

# %%
labels = torch.randint(0, 4, (5000,))
logits = 2.0 * torch.nn.functional.one_hot(labels, 4) + torch.randn(5000, 4)
sums = prediction_sums(logits.log_softmax(-1), labels)
whole, about, beyond = (
    function(sums).item()
    for function in (
        prediction_mutual_information, soft_confusion_mutual_information, conditional_prediction_mutual_information
    )
)  # fmt: skip
print(f"I(X; Ŷ) {whole:.4f} = I(Y; Ŷ) {about:.4f} + I(X; Ŷ | Y) {beyond:.4f}")
print(f"I(X; Y) is at least {barber_agakov_bound(sums):.4f}, and at most H(Y) = {label_entropy(sums):.4f}")

# %% [markdown]
# ## Estimates without training, over the true value
#
# Pairs of Gaussian vectors in four dimensions. The Gaussian estimate assumes the form of the distribution; nearest
# neighbors (KSG) assume only a density, and are too small when the information is large. After a cubic transform of one
# vector the true value is the same, but the Gaussian estimate measures only the linear dependence.

# %%
truth = [0.5, 1, 2, 4, 6, 8]
estimates = {"Gaussian": [], "nearest neighbors": [], "Gaussian, cubic": []}
for nats in truth:
    x, y = GaussianLaw.of(nats=nats, dimensions=4).sample(1000)
    estimates["Gaussian"].append(gaussian_mutual_information(torch.cov(torch.cat([x, y], 1).T), split=4).item())
    estimates["nearest neighbors"].append(ksg_mutual_information(x, y).item())
    x, y = GaussianLaw.of(nats=nats, dimensions=4, disguise="cubic").sample(1000)
    estimates["Gaussian, cubic"].append(gaussian_mutual_information(torch.cov(torch.cat([x, y], 1).T), split=4).item())

figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
axis.plot([0, 8], [0, 8], color="gray", linewidth=1, label="truth")
for name, values in estimates.items():
    axis.plot(truth, values, marker="o", label=name)
axis.set(xlabel="true mutual information (nats)", ylabel="estimate (nats)")
axis.legend()
plt.show()

# %% [markdown]
# ## Bounds from a batch of pairs
#
# A bound takes a matrix of scores, one for each combination of x and y in a batch. With the *best possible* scores,
# which are known for this distribution, InfoNCE still cannot exceed the logarithm of the batch size, and NWJ has a
# variance that grows exponentially with the information. No training can remove these limits.

# %%
size, repetitions = 64, 100
rows = {}
for nats in (1, 2, 4, 6):
    law = GaussianLaw.of(nats=nats, dimensions=4)
    values = {"InfoNCE": [], "NWJ": []}
    for seed in range(repetitions):
        scores = law.log_ratio(*law.sample(size, seed=seed, dtype=torch.float64))
        values["InfoNCE"].append(info_nce(scores).item())
        values["NWJ"].append(nguyen_wainwright_jordan(scores + 1).item())
    rows[nats] = {f"{name}, {statistic}": function(torch.tensor(one)).item() for name, one in values.items()
        for statistic, function in (("mean", torch.mean), ("deviation", torch.std))}  # fmt: skip
print(f"log {size} = {math.log(size):.2f}")
pd.DataFrame(rows).T.rename_axis("truth").round(2)

# %% [markdown]
# ## Trained estimates
#
# In practice the scores are learned. `estimate` trains them on one part of the samples, selects the step on a second
# and evaluates on a third, so the result does not contain overfitting.

# %%
law = GaussianLaw.of(nats=2.0, dimensions=4)
x, y = law.sample(2000)
trained = {
    name: estimate(x, y, name, steps=150, hidden=64)._asdict()
    for name in ("info_nce", "nguyen_wainwright_jordan", "smile", "difference_of_entropies")
}
pd.DataFrame(trained).T.rename(columns={"nats": "held-out pairs", "fitted": "training pairs"}).round(2)

# %% [markdown]
# ## Pixels are not independent samples
#
# All of these estimators assume independent pairs. Here are two *independent* images, smoothed by different amounts:
# the true mutual information of their windows is 0. The Gaussian estimate from all 3 × 3 windows is near the bias d²
# / 2n of independent samples for rough images only; the smoother the images, the larger the false information.

# %%
rows = {}
for length in (0, 1, 2, 4):
    fields = GaussianFields(64, 64, length=length, nats_per_pixel=0.0)
    values = []
    for first, second in zip(*fields.sample(10, seed=1), strict=True):
        pair = torch.cat([windows(one[None].double(), 3) for one in (first, second)], 1)
        covariance = torch.cov(pair.T) + 1e-6 * torch.eye(18, dtype=torch.float64)
        values.append(gaussian_mutual_information(covariance, split=9).item())
    rows[length] = {
        "estimate": sum(values) / 10,
        "d² / 2n": 81 / (2 * len(pair)),
        "truth": fields.mutual_information(3),
    }
pd.DataFrame(rows).T.rename_axis("correlation length (pixels)").round(3)

# %% [markdown]
# Region mutual information is this Gaussian quantity, computed on the windows of one image: use its value to compare
# predictions for the same image, not as the information of the scene.
