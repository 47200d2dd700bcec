from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from segmi.errors import DataError, UsageError
from segmi.study.strict_yaml import dump, parse, parse_file, parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.0e-3", 0.001),
        ("-.5", -0.5),
        ("5", 5),
        ("-5", -5),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("'1e-3'", "1e-3"),
        ('"no"', "no"),
        ("camvid/*", "camvid/*"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    result = parse(f"key: {text}").data["key"]
    assert result == value
    assert type(result) is type(value)


def test_nan_is_a_float() -> None:
    assert math.isnan(parse_value(".nan"))


def test_values_that_pyyaml_reads_differently() -> None:
    assert yaml.safe_load("a: 1e-3") == {"a": "1e-3"}
    assert yaml.safe_load("a: no") == {"a": False}
    assert yaml.safe_load("a: 1\na: 2") == {"a": 2}


def test_every_value_has_a_line() -> None:
    document = parse("a: 1\nb:\n  c: [1,\n    2]\n", "x.yaml")
    assert document.where(("a",)) == "x.yaml:1"
    assert document.where(("b", "c", 1)) == "x.yaml:4"
    assert document.where(("b", "missing", "deep")) == "x.yaml:2"


def test_duplicate_keys_are_refused_with_their_lines() -> None:
    with pytest.raises(UsageError, match="duplicate key 'a'") as caught:
        parse("a: 1\nb: {c: 1, c: 2}\na: 2\n", "x.yaml")
    message = str(caught.value)
    assert "x.yaml:3: duplicate key 'a' (first on line 1)" in message
    assert "x.yaml:2: duplicate key 'c'" in message


def test_python_objects_cannot_be_created(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for tag in ("!!python/object/apply:os.system", "!!python/object/new:os.system", "!custom", "!!set", "!!binary"):
        with pytest.raises(UsageError, match=r"x.yaml:1: the tag .* only plain values are read"):
            parse(f"a: {tag} ['touch {canary}']", "x.yaml")
    assert not canary.exists()


def test_alias_bomb_is_refused_before_construction() -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(UsageError) as caught:
        parse("\n".join(["l0: &l0 [x, x]", *levels]), "bomb.yaml")
    assert "bomb.yaml:1: the anchor &l0; write the value out where it is used" in str(caught.value)
    assert "the alias *l0; write the value out" in str(caught.value)


def test_merge_key_is_ordinary_key() -> None:
    assert parse("<<: {a: 1}").data == {"<<": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5000, "more than 24 levels of nesting"),
        ("a: 1\n---\nb: 2", "x.yaml:2: a second document"),
        ("a: [", "x.yaml:1 is not valid YAML"),
        ("a: 'open", "is not valid YAML"),
        ("\ta: 1", "is not valid YAML"),
        ("a: \x00", "is not valid YAML"),
        ("1: a", "x.yaml:1: the key 1 is not text"),
        ("null: a", "the key null is not text"),
        ("[a]: b", "the key a list or mapping is not text"),
        ("a: " + "9" * 5000, "a number that is too long"),
        ("a: " + "x" * 1_000_001, "a study file has at most 1,000,000"),
    ],
)
def test_invalid_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, "x.yaml")
    assert message in str(caught.value)


def test_quoted_numbers_can_be_keys() -> None:
    assert parse("'1': a").data == {"1": "a"}


def test_missing_file_suggests_existing_one(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("a: 1")
    with pytest.raises(UsageError, match=r"there is no study file .*dmo\.yaml\n.*demo\.yaml"):
        parse_file(tmp_path / "dmo.yaml")


def test_folder_and_binary_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse_file(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match=r"is not UTF-8 text \(byte 0\)"):
        parse_file(tmp_path / "x.yaml")


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfname: a\n")
    assert parse_file(tmp_path / "x.yaml").data == {"name": "a"}


@pytest.mark.parametrize(
    "value",
    ["1e3", "no", "on", "0o17", "017", "1_000", "12:30:00", "2024-01-01", "a: b", "- x", "", "null", "~", "<<", "=",
     "é", "two\nlines", 1e-5, 1e22, 0.1, 1.0, -0.0, math.inf, True, None, 3, [1, [2]], {}, [], {"a": {"b": [1e-4]}}],
)  # fmt: skip
def test_dump_round_trips(value: Any) -> None:
    result = parse(dump({"key": value})).data["key"]
    assert result == value
    assert type(result) is type(value)
