"""Write descriptions of the real datasets of the study `answer` into a new folder; the downloads are not changed.

``DATA`` holds CamVid (the SegNet tutorial's layout), IDDLite, LabelMeFacade, CCP and DSB2018, see
docs/answer/protocol.md. CamVid is copied, because its splits are by clip.

Example: ``python docs/answer/prepare_data.py DATA answer-data``, then ``segmi study run answer --root answer-data``
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

DATASETS = {"iddlite": "IDDLite", "facades": "LabelMeFacade", "clothes": "CCP", "nuclei": "DSB2018"}
"""Name in the study, and name of the folder in ``DATA``."""

CLIPS = {"0016E5": "train", "0001TP": "train", "0006R0": "val"}
"""Splits of CamVid by clip. The usual split has frames of 0016E5 in train and in val."""


def describe(name: str, data: Path, folder: Path) -> Path:
    """Write segmi.toml of a dataset into a folder, and return the folder."""
    text = (Path(__file__).parent / "datasets" / f"{name}.toml").read_text(encoding="utf-8")
    root = json.dumps(str((data / DATASETS[name]).resolve()))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "segmi.toml").write_text(f"format = 1\nroot = {root}\n{text}", encoding="utf-8")
    return folder


def copy_camvid(source: Path, folder: Path) -> Path:
    """Copy the training images of CamVid, divided by clip, and return the folder."""
    for kind in ("", "annot"):
        for file in sorted((source / f"train{kind}").glob("*.png")):
            target = folder / f"{CLIPS[file.name.partition('_')[0]]}{kind}" / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)  # with its time, which names the cache's entry
    return folder


def main() -> None:
    """Prepare all datasets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the downloaded datasets")
    parser.add_argument("output", type=Path, help="folder for the descriptions, the --root of the study")
    options = parser.parse_args()
    for name in DATASETS:
        print(describe(name, options.data, options.output / name))
    print(copy_camvid(options.data / "CamVid", options.output / "camvid"))


if __name__ == "__main__":
    main()
