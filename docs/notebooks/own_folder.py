# %% [markdown]
# # Your own folder
#
# From a folder of images and masks to masks of new images, with three commands. The folder is generated here, in a
# temporary folder: replace `photos` with the path of your folder.

# %%
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from segmi.datasets import open_dataset

work = Path(tempfile.mkdtemp())
photos = work / "photos"


def segmi(command: str) -> None:
    """Run a command of segmi and show its output, as in a terminal."""
    print(f"$ segmi {command}")
    arguments = [sys.executable, "-m", "segmi.cli", *shlex.split(command)]
    done = subprocess.run(arguments, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0


# %% [markdown]
# ## A folder of images and masks
#
# The masks are gray images with the values 0 (background) and 255 (object), a common form of two-class masks. The
# folder has neither a list of classes nor splits.

# %%
scenes = open_dataset("object-scenes", train=40, val=4, height=64, width=64)
for name in ("images", "masks"):
    (photos / name).mkdir(parents=True)
for sample in scenes.split("train"):
    Image.fromarray(sample.image.draw()).save(photos / "images" / f"{sample.name}.png")
    objects = np.isin(sample.mask.draw(), [0, 255], invert=True)
    Image.fromarray(np.uint8(255 * objects)).save(photos / "masks" / f"{sample.name}.png")

print(*sorted(str(path.relative_to(work)) for path in photos.glob("*/*"))[:3], "...", sep="\n")

# %% [markdown]
# ## Describe the folder
#
# `segmi data init` reads every file, detects which folder has the masks, their classes, ignored values and groups,
# draws a validation split, and writes the result to `segmi.toml`.

# %%
segmi("data init photos")
print((photos / "segmi.toml").read_text())

# %% [markdown]
# Read the notes at the end of the report. Here, the file names have numbers only, so each image is a separate
# group. If they were frames of a video, similar images would be in both splits, and the scores would be too high.
#
# Look at the contact sheet before you train: the colors must match the objects. If a name, a color or an ignored
# value is wrong, correct `segmi.toml`.

# %%
Image.open(photos / "segmi-contact-sheet.png").reduce(2)

# %% [markdown]
# ## Train
#
# Without options, `segmi train photos` takes 20 minutes and derives every setting from the images and the machine;
# each one is printed with its reason. Options override them: here a small network, few steps and a fixed seed.

# %%
segmi(
    "train photos --output runs/photos --model unet --seed 0 training.steps=120 training.batch_size=4 "
    "training.learning_rate=1e-2 training.validate_every=60 methods.unet-cross_entropy-dice.networks.network.width=8"
)

# %% [markdown]
# ## Predict
#
# `segmi predict` writes a mask of the size of every image, and an overlay with `--overlay`. With `--values original`
# the masks have the values of the given masks, here 0 and 255, instead of class indices.

# %%
(work / "new").mkdir()
for sample in scenes.split("val"):
    Image.fromarray(sample.image.draw()).save(work / "new" / f"{sample.name}.png")
segmi("predict runs/photos new --output predicted --overlay --values original")

# %%
written = sorted((work / "predicted").glob("*.png"))
figure, axes = plt.subplots(2, 4, figsize=(9, 4.6), layout="constrained")
for column, path in enumerate(sorted((work / "new").iterdir())):
    axes[0, column].imshow(Image.open(path))
    axes[1, column].imshow(Image.open(work / "predicted" / path.name), cmap="gray", vmin=0, vmax=255)
for axis in axes.flat:
    axis.axis("off")
print(*(path.name for path in written), sep="\n")
plt.show()

# %% [markdown]
# ## In Python
#
# The commands are functions too: `segmi.train("photos", output="runs/photos")` returns the bundle and its scores, and
# `segmi.predict(bundle, "photo.jpg")` returns the labels as an array. `segmi evaluate runs/photos --data photos`
# scores a bundle, `segmi export` writes an ONNX file, and `segmi app runs` shows predictions in the browser.
