# %% [markdown]
# # A study and its statistics
#
# Is one loss better than another? One training per loss cannot answer this, because the score changes when a network
# is trained again with another seed. This notebook runs a small study with five seeds per method and reads its
# statistics.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from segmi.report import table1_text, write_report
from segmi.statistics import collect, compare, describe_differences, detectable_factor, run_scores
from segmi.study import load_study, run_study

work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The study
#
# A study is a YAML file of methods × datasets × seeds. All methods have the same data, budget, optimizer and initial
# weights. The second method adds the region term to the baseline. The third is a control: it adds the same term with
# shuffled labels. Nothing can be learned from them, so it should not be better than the baseline.

# %%
text = """
name: small
seeds: [0, 1, 2, 3, 4]
baseline: pixels

datasets:
  street-scenes: {train: 24, val: 8, height: 48, width: 64}

processing: {resize: 48, crop: 48}

training:
  steps: 40
  batch_size: 4
  learning_rate: 1e-2
  validate_every: 40

methods:
  pixels:
    label: cross-entropy
    networks:
      unet: {architecture: unet, width: 4}
    loss: {cross_entropy: {}}

  region:
    label: with region term
    networks:
      unet: {architecture: unet, width: 4}
    loss: {cross_entropy: {}, region_mutual_information: {weight: 0.5, variant: corrected}}

  shuffled:
    label: with shuffled term
    networks:
      unet: {architecture: unet, width: 4}
    loss: {cross_entropy: {}, region_shuffled_labels: {weight: 0.5, variant: corrected}}
"""
path = work / "small.yaml"
path.write_text(text)
study = load_study(path)
print(f"{len(study.methods)} methods × {len(study.datasets)} dataset × {len(study.seeds)} seeds")

# %% [markdown]
# `load_study` reports every mistake of the file at once. `run_study` executes every run that is not finished: stopped
# runs continue, finished runs are skipped. In a shell, this is `segmi study run small.yaml`.

# %%
outcome = run_study(study, work / "runs")
outcome.raise_if_incomplete()
print(f"{len(outcome.finished)} runs finished, {len(run_study(study, work / 'runs').skipped)} skipped the second time")

# %% [markdown]
# ## Every run
#
# Runs of one seed share the initial weights and the order of the images, so methods are compared seed by seed. Lines
# connect the runs of a seed.

# %%
runs = collect(work / "runs")[0]
names = dict(runs.plan.methods)
values = run_scores(runs).pivot(index="seed", columns="method", values="mIoU")[list(names)].rename(columns=names)

figure, axis = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
for seed, row in values.iterrows():
    axis.plot(range(len(names)), row, marker="o", linewidth=1, label=f"seed {seed}")
axis.set(xticks=range(len(names)), xticklabels=list(names.values()), ylabel="mIoU", xlim=(-0.3, len(names) - 0.7))
axis.legend(fontsize=8)
plt.show()
values.round(3)

# %% [markdown]
# ## The comparison
#
# `compare` tests the differences of the seeds. *p* is the paired t test, *Holm* the same adjusted for the number of
# comparisons, and the verdict is *better* or *worse* only if Holm's p is below 0.05. *Not distinguishable* does not
# mean equal: true differences up to *detectable* are possible.

# %%
comparisons = compare(runs)
pd.DataFrame(
    {
        names[one.pairing.method]: {
            "difference": round(one.difference.mean, 4),
            "95 % interval": "{:.3f} to {:.3f}".format(*one.difference.interval),
            "p": round(one.difference.p, 4),
            "Holm": round(one.p_holm, 4),
            "detectable": round(one.detectable, 4),
            "verdict": one.verdict,
        }
        for one in comparisons
    }
).T

# %%
figure, axis = plt.subplots(figsize=(6, 2.2), layout="constrained")
for row, one in enumerate(comparisons):
    low, high = one.difference.interval
    axis.plot([low, high], [row, row], color="tab:blue")
    axis.plot(one.difference.mean, row, "o", color="tab:blue")
axis.axvline(0, color="gray", linewidth=1)
axis.set(yticks=range(len(comparisons)), yticklabels=[names[one.pairing.method] for one in comparisons])
axis.set(xlabel="difference in mIoU to cross-entropy, 95 % interval over seeds", ylim=(len(comparisons) - 0.5, -0.5))
plt.show()

# %% [markdown]
# The verdicts are about these tiny networks, trained for 40 steps, not about the losses in general.
#
# ## How many seeds?
#
# The smallest true difference that a repetition finds with a probability of 80 %, in standard deviations of the
# differences, for one comparison and for four. Three seeds only find differences of several standard deviations.

# %%
seeds = np.arange(3, 16)
figure, axis = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
for tests in (1, 4):
    axis.plot(
        seeds, [detectable_factor(int(n), 0.05 / tests) for n in seeds], marker="o", label=f"comparisons: {tests}"
    )
axis.set(xlabel="seeds", ylabel="detectable difference (standard deviations)", ylim=(0, None))
axis.legend()
plt.show()

# %% [markdown]
# The same test works on other numbers, one difference per seed:

# %%
result = describe_differences([0.012, 0.018, 0.009, 0.021, 0.015])
low, high = result.interval
print(f"mean {result.mean:.3f}, interval {low:.3f} to {high:.3f}, p {result.p:.4f}, sign flips p {result.p_flip:.4f}")

# %% [markdown]
# ## The report
#
# The report has Table 1, the statistics, learning curves and predictions, as one page and as files. In a shell, this
# is `segmi report runs/small`.

# %%
print(table1_text(work / "runs"))
report = write_report(work / "runs" / "small")
print(*sorted(path.name for path in report.iterdir()))
