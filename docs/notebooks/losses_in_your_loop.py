# %% [markdown]
# # Losses in your loop
#
# Every loss of segmi is called with logits and labels and returns a scalar, so it fits in any PyTorch loop. This
# notebook shows the call, ignored pixels, the parts and diagnostics of a loss, a comparison of three losses from
# equal initial weights, and two networks that learn from each other.

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch

from segmi.datasets import Processing, SegmentationDataset, open_dataset, training_batches
from segmi.losses import (
    RMILoss,
    cross_entropy,
    jensen_shannon,
    mutual_learning,
    region_information,
    region_mutual_information,
    soft_confusion,
)
from segmi.metrics import ConfusionMatrix, scores
from segmi.models import build_network

_ = torch.manual_seed(0)

# %% [markdown]
# ## One call
#
# Logits are N×C×H×W, labels N×H×W class indices. Pixels with the label 255 are ignored: other predictions at these
# pixels do not change the cross-entropy.

# %%
logits = torch.randn(2, 5, 32, 32, requires_grad=True)
labels = torch.randint(0, 5, (2, 32, 32))
labels[:, :8] = 255

changed = logits.detach().clone()
changed[:, :, :8] = 100 * torch.randn(2, 5, 8, 32)
print(f"{cross_entropy(logits, labels):.4f} {cross_entropy(changed, labels):.4f}")

# %% [markdown]
# A loss with several parts returns them by name. Each part is a ratio of a sum and a count, so that batches can be
# accumulated exactly, and can have diagnostics: quantities to log, without a gradient. `I_G` is the information of
# the predicted windows about the windows of the label, in nats per window, one number per class.

# %%
criterion = RMILoss(variant="corrected")
for name, term in criterion.terms(logits, labels).items():
    measured = {key: (ratio.numerator / ratio.denominator).detach() for key, ratio in term.diagnostics.items()}
    print(f"{name}: weight {term.weight}, value {term.value.item():.3f}", measured)

# %% [markdown]
# ## Three losses, equal initial weights
#
# The same small U-Net is trained with three losses on the same batches of generated scenes: cross-entropy, and
# cross-entropy with region mutual information or with the information of label and predicted class.

# %%
scenes = open_dataset("street-scenes", train=32, val=8, height=64, width=96)
processing = Processing(resize=64, crop=64)
train, val = (SegmentationDataset(scenes, scenes.split(split), processing) for split in ("train", "val"))
classes = len(scenes.info.classes)
held_out = next(iter(training_batches(val, batch_size=8, first=0, last=1)))

LOSSES = {
    "cross-entropy": cross_entropy,
    "with region information": lambda z, y: (
        cross_entropy(z, y) + 0.5 * region_mutual_information(z, y, variant="corrected")
    ),
    "with label information": lambda z, y: cross_entropy(z, y) + 0.1 * soft_confusion(z, y),
}


def fit(loss, steps=60):
    """Train a network and return measurements on the held-out images."""
    torch.manual_seed(1)
    network = build_network("unet", classes=classes, width=8)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    rows = []
    for step, batch in enumerate(training_batches(train, batch_size=4, first=0, last=steps), 1):
        optimizer.zero_grad()
        loss(network(batch.images).logits, batch.labels).backward()
        optimizer.step()
        if step % 15 == 0:
            rows.append({"step": step, **measure(network)})
    return network, pd.DataFrame(rows).set_index("step")


def measure(network):
    """Return mIoU, and information about the label per pixel and per window, on the held-out images."""
    with torch.inference_mode():
        logits = network(held_out.images).logits
    matrix = ConfusionMatrix(classes)
    matrix.update(logits.argmax(1), held_out.labels)
    windows = region_information(logits, held_out.labels, variant="corrected", probability="softmax")
    return {
        "mIoU": scores(matrix.pooled().numpy())["mIoU"],
        "I(Y; Ŷ)": -soft_confusion(logits, held_out.labels).item(),
        "I_G": windows[windows > 0].mean().item(),
    }


trained = {name: fit(loss) for name, loss in LOSSES.items()}

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
for axis, quantity, unit in zip(
    axes, ("mIoU", "I(Y; Ŷ)", "I_G"), ("", "nats per pixel", "nats per window"), strict=True
):
    for name, (_, table) in trained.items():
        axis.plot(table.index, table[quantity], marker="o", label=name)
    axis.set(xlabel="step", ylabel=f"{quantity} ({unit})" if unit else quantity)
axes[0].legend()
plt.show()

# %% [markdown]
# These curves come from one seed and 60 steps of training, so they do not show which loss is better: another seed can
# change their order. The notebook *A study and its statistics* answers such a question.
#
# ## Two networks that learn from each other
#
# Losses between networks take the logits of the others. In mutual learning, each network also imitates the other one;
# the gradient of each term reaches its own network only. The Jensen–Shannon divergence is the information, in nats,
# that a prediction has about the network that made it: 0 if the networks agree.


# %%
def disagreement(weight, steps=40):
    """Train two networks and return their disagreement on the held-out images."""
    torch.manual_seed(2)
    pair = [build_network("unet", classes=classes, width=8) for _ in range(2)]
    optimizer = torch.optim.Adam([p for network in pair for p in network.parameters()], lr=1e-2)
    for batch in training_batches(train, batch_size=4, first=0, last=steps):
        first, second = (network(batch.images).logits for network in pair)
        loss = cross_entropy(first, batch.labels) + cross_entropy(second, batch.labels)
        loss = loss + weight * mutual_learning(first, [second], batch.labels)
        loss = loss + weight * mutual_learning(second, [first], batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        return jensen_shannon([network(held_out.images).logits for network in pair], held_out.labels).item()


pd.Series({"cross-entropy alone": disagreement(0.0), "with mutual learning": disagreement(1.0)}, name="nats").round(3)

# %% [markdown]
# ## Next
#
# The page *Losses* lists all losses by use, each with its formula, its cost and the control that it must beat. `segmi
# list losses` prints their options.
