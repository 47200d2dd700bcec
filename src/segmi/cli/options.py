"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="DIR|none",
        help="Folder for decoded images; none disables the cache. Default: $SEGMI_CACHE or the user's cache folder.",
    ),
]

# training
InitFrom = Annotated[
    Path | None, typer.Option("--init-from", metavar="BUNDLE", help="Fine-tune: start from the weights of a bundle.")
]
AllowChanged = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-changed", metavar="KEY", help="Continue although this setting changed, or `data`, or `segmi`."
    ),
]

# datasets
DatasetOptions = Annotated[
    list[str] | None,
    typer.Argument(metavar="OPTION=VALUE", help="Options of the dataset, such as val=0.2 or masks=color."),
]
Dataset = Annotated[
    str, typer.Option("--data", metavar="NAME", help="A dataset in `segmi list datasets`, or a folder.")
]
DatasetRoot = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Dataset root (default: $SEGMI_DATA).")]

# trained networks
Bundle = Annotated[
    str,
    typer.Argument(metavar="BUNDLE", help="Folder of a bundle, a run with one bundle, or owner/name on the Hub."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Window = Annotated[
    int | None,
    typer.Option("--window", metavar="PIXELS", min=1, help="Predict larger images in square windows with this side."),
]
Overlap = Annotated[
    int | None, typer.Option("--overlap", metavar="PIXELS", min=0, help="Overlap of the windows (default: a quarter).")
]
Threshold = Annotated[
    float, typer.Option("--threshold", help="For networks with one logit: predict class 1 above this probability.")
]
Tta = Annotated[
    str | None,
    typer.Option(
        "--tta",
        metavar="KINDS",
        help="Test-time augmentation: flips, scales or flips,scales.",
    ),
]
