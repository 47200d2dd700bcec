"""Repositories of the Hugging Face Hub: their names, and what goes wrong on the way to them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from segmi.errors import DataError, EnvironmentProblem, SegmiError, UsageError

_NAME: Final = re.compile(r"(?:hf://)?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")

PATIENCE: Final = 10.0
"""Seconds that the Hub may take to answer a question."""


class Repository(NamedTuple):
    """A repository, and the revision that is meant."""

    name: str
    revision: str | None = None


def repository(text: str) -> Repository | None:
    """``owner/name``, ``owner/name@revision`` or ``hf://owner/name`` as a repository; None for anything else.

    Example:
        >>> repository("me/streets@v2"), repository("runs/mine/bundles/network")
        (Repository(name='me/streets', revision='v2'), None)
    """
    match = _NAME.fullmatch(text)
    return Repository(match[1], match[2]) if match else None


def endpoint() -> str:
    """Where the Hub is: ``HF_ENDPOINT``, or its own address."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def fetched(wanted: Repository, files: list[str]) -> Path:
    """A folder with some files of a repository, downloaded where they are not in the Hub's cache.

    Raises:
        DataError: there is no such repository or revision, it may not be read, or it lacks one of the files.
        EnvironmentProblem: the Hub cannot be reached, and the files are not in the cache.
    """
    from huggingface_hub import snapshot_download

    with explained(wanted.name, f"{wanted.name} is no folder here, and "):
        folder = snapshot_download(
            wanted.name,
            revision=wanted.revision,
            allow_patterns=files,
            endpoint=endpoint(),
            etag_timeout=PATIENCE,
        )
    missing = [file for file in files if not (Path(str(folder)) / file).is_file()]
    if missing:
        raise DataError(
            f"{wanted.name} is no bundle: it holds no {' and no '.join(missing)}",
            "name a repository that `segmi publish` filled",
        )
    return Path(str(folder))


@contextmanager
def explained(name: str, before: str = "") -> Iterator[None]:
    """Turn what the Hub's client raises into errors that say what to do.

    Args:
        name: of the repository.
        before: what is said before that the Hub cannot be reached.
    """
    from huggingface_hub import errors

    try:
        yield
    except SegmiError:
        raise
    except errors.HFValidationError as error:
        raise UsageError(f"{name} is no name of a repository: {error}", "write owner/name") from error
    except errors.GatedRepoError as error:
        raise DataError(
            f"{name} is gated: its owner lets nobody read it who has not asked",
            f"ask on {endpoint()}/{name}, then export HF_TOKEN with a token of yours",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(
            f"there is no repository {name} at {endpoint()}, or it is private",
            "check owner and name; for a private one export HF_TOKEN with a token that may read it",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DataError(f"{name} has no such revision", "name a branch, a tag or a commit behind the @") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise EnvironmentProblem(
                f"{endpoint()} does not let this token write to {name}",
                "export HF_TOKEN with a token that may write, for an owner that is you or yours",
            ) from error
        raise EnvironmentProblem(
            f"{endpoint()} answers {status} for {name}: {_first_line(error)}", "try again"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        raise _unreachable(before, error) from error
    except Exception as error:  # the client's transport has errors of its own
        if "connect" in type(error).__name__.lower() or "timeout" in type(error).__name__.lower():
            raise _unreachable(before, error) from error
        raise


def _unreachable(before: str, error: Exception) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{before}{endpoint()} cannot be reached: {_first_line(error)}",
        "go online, or correct the name; what was downloaded once is taken from the cache",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
