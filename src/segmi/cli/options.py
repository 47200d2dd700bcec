"""Options that several verbs have."""

from __future__ import annotations

from typing import Annotated

import typer

Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="DIR|none",
        help="Where decoded images are kept, none to keep none; SEGMI_CACHE otherwise, then the user's cache folder.",
    ),
]
