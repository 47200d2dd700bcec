# %% [markdown]
# # Quickstart
#
# This notebook trains a segmentation network with a mutual-information loss, scores it and predicts the mask of a new
# image. The images are generated, so nothing is downloaded, and everything is written to a temporary folder. It takes
# less than a minute on a CPU.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import segmi
from segmi.datasets import open_dataset

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The data
#
# `street-scenes` is a generated dataset with 11 classes. The same options give the same images on every machine. To
# train on a folder of images and masks instead, see the notebook *Your own folder*.

# %%
dataset = open_dataset("street-scenes", train=40, val=8)
palette = np.array(dataset.info.palette, np.uint8)

figure, axes = plt.subplots(2, 4, figsize=(10, 4), layout="constrained")
for column, sample in enumerate(list(dataset.split("val"))[:4]):
    axes[0, column].imshow(sample.image.draw())
    axes[1, column].imshow(palette[sample.mask.draw()])
for axis in axes.flat:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Training
#
# `segmi.train` derives every setting that is not given from the data and the machine, and prints it with its reason.
# Here the network is a small U-Net on resized images, so that a CPU is enough. The loss is the sum of cross-entropy
# and region mutual information, in the variant for new work.

# %%
trained = segmi.train(
    "street-scenes",
    model="unet",
    losses=["cross_entropy", "region_mutual_information"],
    output=folder / "quickstart",
    steps=200,
    batch_size=4,
    learning_rate=2e-2,
    validate_every=100,
    settings=[
        "datasets.street-scenes={train: 40, val: 8}",
        "processing={resize: 64, crop: 64}",
        "methods.unet-cross_entropy-region_mutual_information.networks.network.width=8",
        "methods.unet-cross_entropy-region_mutual_information.loss.region_mutual_information.variant=corrected",
    ],
)

# %% [markdown]
# ## Scores
#
# The validation split is scored by the mean intersection over union (mIoU) and by the IoU of every class. A class
# that is neither in the labels nor in the predictions has no IoU.

# %%
print(f"mIoU {trained.scores['mIoU']:.3f}, pixel accuracy {trained.scores['pixel_accuracy']:.3f}")
pd.DataFrame({"IoU": trained.scores["IoU"]}, index=dataset.info.classes).T.round(2)

# %% [markdown]
# After so few steps, large classes such as the road are usually found and thin ones such as poles are not.
#
# ## Prediction
#
# The result of the training is a bundle, a folder with the weights and everything that is needed to use them.
# `segmi.predict` takes a bundle and an image: a file, an array, a Pillow image or a tensor.

# %%
sample = next(iter(dataset.split("val")))
image = sample.image.draw()
labels = segmi.predict(trained.bundle, image)

figure, axes = plt.subplots(1, 3, figsize=(10, 2.6), layout="constrained")
for axis, pixels, title in zip(
    axes, (image, palette[sample.mask.draw()], palette[labels]), ("image", "label", "prediction"), strict=True
):
    axis.imshow(pixels)
    axis.set_title(title)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## The record of the run
#
# Every run is a folder with its configuration, metrics and result. `metrics.csv` has a row per measurement, with the
# diagnostics of the loss. Columns that start with `holdout/` are measured during training on the images that select
# the weights, here the validation split.

# %%
metrics = pd.read_csv(trained.run / "metrics.csv")
print(sorted(path.name for path in trained.run.iterdir()))
metrics.filter(regex="^step$|train/loss$|holdout/mIoU").dropna(axis=1, how="all").tail()
