"""Files of a release agree with each other: version, addresses, workflows, constraints and container."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import segmi

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
VERSIONS = ["3.11", "3.12", "3.13", "3.14"]
LINTED = {
    ".github/workflows/*.yml": ["github-workflows", "github-workflows-require-timeout"],
    ".github/dependabot.yml": ["dependabot"],
    ".github/ISSUE_TEMPLATE/config.yml": ["github-issue-config"],
    ".github/ISSUE_TEMPLATE/[!c]*.yml": ["github-issue-forms"],
    "CITATION.cff": ["citation-file-format"],
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def workflow(name: str) -> dict:
    return yaml.safe_load(text(f".github/workflows/{name}.yml"))["jobs"]


def test_the_version_is_the_same_everywhere() -> None:
    heading = re.search(r"^## (\S+) \((.+)\)$", text("CHANGELOG.md"), re.MULTILINE)
    citation = yaml.safe_load(text("CITATION.cff"))
    assert heading is not None
    assert heading[1] == citation["version"] == segmi.__version__
    assert heading[2] in (str(citation["date-released"]), "unreleased")
    assert "version" in PROJECT["dynamic"]


def test_every_python_version_is_declared_and_tested() -> None:
    prefix = "Programming Language :: Python :: "
    declared = [one.removeprefix(prefix) for one in PROJECT["classifiers"] if one.startswith(prefix + "3.")]
    matrix = workflow("tests")["test"]["strategy"]["matrix"]
    assert declared == matrix["python"] == VERSIONS
    assert PROJECT["requires-python"] == f">={VERSIONS[0]}"
    assert {one.partition("-")[0] for one in matrix["os"]} == {"ubuntu", "macos", "windows"}
    lowest = {"os": "ubuntu-latest", "python": VERSIONS[0], "dependencies": "lowest-direct"}
    assert matrix["include"] == [lowest]


def test_every_requirement_has_a_lower_bound() -> None:
    """Without one, the job that tests the lowest versions would install the first release of a package."""
    named = [one for extra in PROJECT["optional-dependencies"].values() for one in (*extra, *PROJECT["dependencies"])]
    assert [one for one in named if ">=" not in one and not one.startswith("segmi[")] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_addresses_of_the_repository_lead_to_files(name: str) -> None:
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com")
    links = re.findall(rf"(?:{REPOSITORY}/(?:blob|tree)|{raw})/main/([^)#\s]+)", text(name))
    assert not [path for path in links if not (ROOT / path).exists()]
    other = re.findall(r"https://(?:raw\.githubusercontent|github)\.com/[\w-]+/segmi", text(name))
    assert set(other) <= {REPOSITORY, raw}


def test_the_readme_renders_outside_of_the_repository() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text("README.md"))
    assert len(links) > 10
    assert [link for link in links if not link.startswith("https://")] == []
    assert len(text("README.md").splitlines()) <= 120


@pytest.mark.parametrize(("pattern", "schema"), [(pattern, one) for pattern, names in LINTED.items() for one in names])
def test_files_follow_their_schemas(pattern: str, schema: str) -> None:
    pytest.importorskip("check_jsonschema", reason="pip install 'segmi[dev]'")
    files = sorted(str(path) for path in ROOT.glob(pattern))
    assert files
    builtin = schema if schema.endswith("timeout") else f"vendor.{schema}"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", builtin, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_and_the_container_run_existing_targets_and_files() -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        assert set(re.findall(r"\bmake ([a-z]+)", path.read_text(encoding="utf-8"))) <= targets, path.name
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            assert job.get("permissions", {}).get("contents", "read") == "read"
    copied = [
        name for line in re.findall(r"^COPY (.*) \S+$", text("Dockerfile"), re.MULTILINE) for name in line.split()
    ]
    assert copied
    assert {f"!{name}" for name in copied} <= set(text(".dockerignore").splitlines())
    assert all((ROOT / name).exists() for name in copied)


def test_only_publishing_jobs_receive_a_token() -> None:
    jobs = workflow("release")
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    assert set(jobs["publish"]["needs"]) == {"tests", "build"}
    assert "password:" not in text(".github/workflows/release.yml")


def test_constraints_fix_every_direct_requirement() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text("constraints.txt"), re.MULTILINE))
    for extra in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        names = {re.split(r"[>=<\[]", one)[0].lower() for one in extra} - {"segmi"}
        assert names <= set(pins), names - set(pins)
    assert not re.search(r"://|file:|-e ", text("constraints.txt"))
