from __future__ import annotations

import getpass
import json
import socket

import pytest

from segmi.study.environment import code_version, environment


def test_it_tells_what_numbers_depend_on_and_nothing_about_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary-4711")
    told = environment()
    text = json.dumps(told)
    assert told["threads"] >= 1
    assert told["packages"]["torch"]
    assert told["cpu"]
    assert "canary-4711" not in text
    assert socket.gethostname() not in text
    assert getpass.getuser() not in text.split('"')


def test_the_code_version_is_a_commit_or_nothing() -> None:
    version = code_version()
    assert version is None or len(version.removesuffix("+changes")) == 40
