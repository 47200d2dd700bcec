from __future__ import annotations

import getpass
import json
import socket

import pytest

from segmi.study.environment import code_version, environment


def test_environment_has_no_personal_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary-4711")
    found = environment()
    text = json.dumps(found)
    assert found["threads"] >= 1
    assert found["packages"]["torch"]
    assert found["cpu"]
    assert "canary-4711" not in text
    assert socket.gethostname() not in text
    assert getpass.getuser() not in text.split('"')


def test_code_version_is_commit_or_none() -> None:
    version = code_version()
    assert version is None or len(version.removesuffix("+changes")) == 40
