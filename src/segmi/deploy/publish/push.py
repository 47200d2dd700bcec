"""Pushing a published folder to a repository of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from segmi.deploy.hub import endpoint, explained, repository
from segmi.errors import EnvironmentProblem, UsageError


def push(folder: str | Path, to: str, *, private: bool = False, message: str = "A network trained with segmi") -> str:
    """Upload a folder that `write_folder` wrote; the repository is made if it is not there.

    Args:
        folder: what is uploaded.
        to: ``owner/name``.
        private: whether a repository that is made now is private.
        message: of the commit.

    Returns: the address of the repository.

    Raises:
        UsageError: ``to`` is no name of a repository.
        EnvironmentProblem: there is no token, it may not write there, or the Hub cannot be reached.
    """
    wanted = repository(to)
    if wanted is None or wanted.revision is not None:
        raise UsageError(f"{to!r} is no name of a repository", "write owner/name")
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if token is None:
        raise EnvironmentProblem(
            f"there is no token with which to write to {wanted.name}",
            f"make one on {endpoint()}/settings/tokens and export HF_TOKEN=…, or sign in with `hf auth login`",
        )
    api = HfApi(endpoint=endpoint(), token=token)
    with explained(wanted.name):
        api.create_repo(wanted.name, private=private, exist_ok=True)
        api.upload_folder(repo_id=wanted.name, folder_path=str(folder), commit_message=message)
    return f"{endpoint()}/{wanted.name}"
