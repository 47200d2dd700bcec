from __future__ import annotations

import pytest

from segmi.cli.output import settings
from segmi.cli.progress_bars import StudyProgress, counting, describe_event, describe_together
from segmi.study.events import Clock, StudyEvent
from segmi.study.run_config import Run, RunConfig, TrainingSection


def run_of(method: str, steps: int) -> Run:
    training = TrainingSection(steps=steps)
    return Run(RunConfig.model_construct(study="demo", dataset="camvid", method=method, seed=0, training=training))


RUN, OTHER = run_of("model-1", 10), run_of("model-2", 20)


def test_lines_say_where_the_study_stands() -> None:
    event = StudyEvent(
        "train", 50, 100, 1.5, 20.0, run=RUN, number=1, total=6, run_seconds_left=65, study_seconds_left=4000
    )
    assert describe_event(event) == (
        "[1/6] camvid/model-1/seed0: step 50/100, loss 1.5000, 20.0 images/s, 1 min 5 s left (1 h 6 min for all)"
    )
    assert (
        describe_event(StudyEvent("failed", text="no data", run=RUN, number=1, total=6))
        == "[1/6] camvid/model-1/seed0: FAILED: no data"
    )


def test_without_a_terminal_frequent_events_are_thinned_out(capsys: pytest.CaptureFixture[str]) -> None:
    with StudyProgress() as progress:
        for step in range(100):
            progress(StudyEvent("train", step, 100, run=RUN, number=1, total=1))
        progress(StudyEvent("finished", run=RUN, number=1, total=1))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2


def test_concurrent_runs_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with StudyProgress() as progress:
        progress(StudyEvent("finished", run=RUN, number=1, total=4))
        progress(StudyEvent("started", run=OTHER, number=2, total=4, text="process 7 on node-3"))
        progress(StudyEvent("started", run=RUN, number=1, total=4))
        progress(StudyEvent("train", 5, 10, run=RUN, number=1, total=4, study_seconds_left=65))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "[2/4] camvid/model-2/seed0: starts (process 7 on node-3)"
    assert lines[-1] == "[1/4] 2 runs in progress: camvid/model-2/seed0, camvid/model-1/seed0 5/10 (1 min 5 s for all)"
    many = [StudyEvent("train", 1, 9, run=RUN, number=1, total=64)] * 10
    assert describe_together(many, 54).endswith("seed0 1/9, and 2 more")


def test_on_a_terminal_every_active_run_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with StudyProgress() as progress:
        table = progress._bars
        progress(StudyEvent("started", run=RUN, number=1, total=3, text="process 7 on node-3"))
        progress(StudyEvent("started", run=OTHER, number=2, total=3))
        progress(StudyEvent("train", 5, 10, 1.5, 20.0, run=RUN, number=1, total=3, run_seconds_left=65))
        progress(StudyEvent("evaluate", 1, 3, run=OTHER, number=2, total=3))
        assert [(row.description, row.completed, row.total) for row in table.tasks] == [
            ("study", 0, 3), (RUN.key, 5, 10), (OTHER.key, 1, 3),
        ]  # fmt: skip
        assert table.tasks[1].fields == {
            "status": "loss 1.5000, 20.0 images/s, 1 min 5 s left", "where": "process 7 on node-3",
        }  # fmt: skip
        progress(StudyEvent("finished", run=RUN, number=1, total=3))
        assert [(row.description, row.completed) for row in table.tasks] == [("study", 1), (OTHER.key, 1)]


def test_files_are_counted_by_a_bar_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    times = iter([0.0, 0.1, 60.0, 60.1, 120.0])
    monkeypatch.setattr("segmi.cli.progress_bars.time.monotonic", lambda: next(times))
    listener = counting("train, images:")
    for done in (1, 2, 3, 4):
        listener(done, 4)
    shown = capsys.readouterr().err.replace("\033[K", "").split("\r")[1:]  # the first and the third came too soon
    half = "━" * 12
    assert shown == [
        f"train, images: {half}{'┄' * 12} 2/4 images, 1 min 0 s left",
        f"train, images: {half}{half} 4/4 images, in 2 min 0 s\n",
    ]


def test_files_are_counted_in_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 1.0, 11.0, 12.0])
    monkeypatch.setattr("segmi.cli.progress_bars.time.monotonic", lambda: next(times))
    listener = counting()
    for done in (1, 2, 3):
        listener(done, 3)
    assert capsys.readouterr().err == "read 2/3 images\nread 3/3 images\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "quiet", True)
    StudyProgress()(StudyEvent("finished", run=RUN, number=1, total=1))
    assert capsys.readouterr().err == ""


def test_the_clock_estimates_run_and_study_from_the_pace() -> None:
    times = iter([0.0, 2.0])
    clock = Clock([RUN, OTHER], now=lambda: next(times))
    clock.start(RUN)
    assert clock.estimate(RUN, 1, 10) == (None, None)
    assert clock.estimate(RUN, 2, 10) == (16.0, 16.0 + 40.0)


def test_a_resumed_run_does_not_count_what_was_done_before() -> None:
    times = iter([0.0, 3.0])
    clock = Clock([RUN], now=lambda: next(times))
    clock.estimate(RUN, 8, 10)
    assert clock.estimate(RUN, 9, 10) == (3.0, 3.0)


def test_runs_at_the_same_time_share_what_is_left() -> None:
    times = iter([0.0, 0.0, 2.0, 2.0])
    clock = Clock([RUN, OTHER], now=lambda: next(times))
    clock.estimate(RUN, 0, 10)
    clock.estimate(OTHER, 0, 20)
    assert clock.estimate(RUN, 1, 10) == (18.0, 9.0)
    assert clock.estimate(OTHER, 1, 20) == (38.0, (18.0 + 38.0) / 2)
    clock.end(RUN)
