"""Where datasets lie on this machine: from the command line or the environment, never from a study file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segmi.errors import UsageError


@dataclass(frozen=True)
class Roots:
    """The folders given with ``--root``.

    Args:
        named: a folder per dataset.
        default: for all others; None leaves it to ``SEGMI_DATA``.
    """

    named: dict[str, Path] = field(default_factory=dict)
    default: Path | None = None

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Roots:
        """From ``NAME=DIR`` and ``DIR`` arguments.

        Raises:
            UsageError: two folders for the same dataset, or an empty one.

        Example:
            >>> Roots.parse(["voc2012=/data/VOCdevkit", "/data"]).of("camvid").as_posix()
            '/data'
        """
        named: dict[str, Path] = {}
        default: Path | None = None
        for argument in arguments:
            name, equals, folder = argument.partition("=")
            if equals and not Path(argument).exists():
                if not name or not folder or name in named:
                    raise UsageError(f"--root {argument} cannot be meant", "write --root NAME=DIR once per dataset")
                named[name] = Path(folder)
            elif not argument or default is not None:
                raise UsageError(
                    f"--root {argument or repr('')} comes after --root {default}",
                    "write --root NAME=DIR when datasets lie in different folders",
                )
            else:
                default = Path(argument)
        return cls(named, default)

    def of(self, name: str) -> Path | None:
        """The folder of a dataset, None if the environment must say."""
        return self.named.get(name, self.default)

    def absolute(self) -> Roots:
        """The same folders for processes that stand elsewhere."""
        return Roots(
            {name: folder.absolute() for name, folder in self.named.items()},
            self.default.absolute() if self.default is not None else None,
        )
