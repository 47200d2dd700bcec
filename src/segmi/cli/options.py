"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="DIR|none",
        help="Folder for decoded images; none disables the cache. Default: $SEGMI_CACHE or the user's cache folder.",
    ),
]
