"""Repositories of the Hugging Face Hub: names, downloads and error messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from segmi.errors import DataError, EnvironmentProblem, SegmiError, UsageError, first_line

_NAME: Final = re.compile(r"(?:hf://)?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")

TIMEOUT: Final = 10.0  # seconds to wait for an answer of the Hub


class Repository(NamedTuple):
    """Name of a repository, and a branch, tag or commit."""

    name: str
    revision: str | None = None


def parse_repository(text: str) -> Repository | None:
    """Parse ``owner/name``, ``owner/name@revision`` or ``hf://owner/name``; return None for anything else.

    Example:
        >>> parse_repository("me/streets@v2"), parse_repository("runs/mine/bundles/network")
        (Repository(name='me/streets', revision='v2'), None)
    """
    match = _NAME.fullmatch(text)
    return Repository(match[1], match[2]) if match else None


def hub_url() -> str:
    """Return ``HF_ENDPOINT`` from the environment, by default the URL of the Hugging Face Hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def download_files(repository: Repository, files: list[str]) -> Path:
    """Return a folder with files of a repository, downloaded unless the Hub's cache contains them.

    Raises:
        DataError: if the repository or revision does not exist or cannot be read, or a file is missing.
        EnvironmentProblem: if the Hub cannot be reached, and the files are not in the cache.
    """
    from huggingface_hub import snapshot_download

    with explain_hub_errors(repository.name, f"{repository.name} is not a local folder, and "):
        downloaded = snapshot_download(
            repository.name, revision=repository.revision, allow_patterns=files, endpoint=hub_url(),
            etag_timeout=TIMEOUT,
        )  # fmt: skip
    folder = Path(str(downloaded))
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        problem = f"{repository.name} is not a bundle: {' and '.join(missing)} missing"
        raise DataError(problem, "choose a repository that `segmi publish` wrote")
    return folder


@contextmanager
def explain_hub_errors(name: str, prefix: str = "") -> Iterator[None]:
    """Convert errors of the Hub's client to errors that suggest a fix; ``prefix`` starts the one without network."""
    from huggingface_hub import errors

    try:
        yield
    except SegmiError:
        raise
    except errors.HFValidationError as error:
        raise UsageError(f"{name} is not the name of a repository: {error}", "write owner/name") from error
    # GatedRepoError is a RepositoryNotFoundError, which is an HfHubHTTPError: the order matters.
    except errors.GatedRepoError as error:
        raise DataError(
            f"{name} is gated: reading it requires its owner's permission",
            f"request access at {hub_url()}/{name}, then export HF_TOKEN with your token",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(
            f"{hub_url()} has no repository {name}, or it is private",
            "check owner and name; for a private one, export HF_TOKEN with a token that has read access",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DataError(f"{name} has no such revision", "write a branch, a tag or a commit after the @") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise EnvironmentProblem(
                f"{hub_url()} does not let this token write to {name}",
                "export HF_TOKEN with a token that has write access to the owner's repositories",
            ) from error
        problem = f"{hub_url()} answers {status} for {name}: {first_line(error)}"
        raise EnvironmentProblem(problem, "try again") from error
    except Exception as error:
        known = isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled | OSError)
        # the client's transport raises its own types
        if not known and not re.search("connect|timeout", type(error).__name__, re.IGNORECASE):
            raise
        raise EnvironmentProblem(
            f"{prefix}{hub_url()} cannot be reached: {first_line(error)}",
            "connect to the network, or correct the name; downloaded files are read from the cache",
        ) from error
