from __future__ import annotations

from typing import Any

import pytest

from segmi.cli.output import settings
from segmi.cli.progress_bars import StudyProgress, activity, counting, describe_event, describe_together
from segmi.study.events import Clock, Event, StudyEvent
from segmi.study.run_config import Run, RunConfig, TrainingSection


def run_of(method: str, steps: int) -> Run:
    training = TrainingSection(steps=steps)
    return Run(RunConfig.model_construct(study="demo", dataset="camvid", method=method, seed=0, training=training))


RUN, OTHER = run_of("model-1", 10), run_of("model-2", 20)


@pytest.fixture(autouse=True)
def _not_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "quiet", False)  # a command with --quiet in an earlier test leaves it set


def test_lines_say_where_the_study_stands() -> None:
    event = StudyEvent(
        "train", 50, 100, 1.5, 20.0, run=RUN, ended=0, total=6, run_seconds_left=65, study_seconds_left=4000
    )
    assert describe_event(event) == (
        "[0/6 done] camvid/model-1/seed0: step 50/100, loss 1.5000, 20.0 images/s, 1 min 5 s left (1 h 6 min for all)"
    )
    assert (
        describe_event(StudyEvent("failed", text="no data", run=RUN, ended=1, total=6))
        == "[1/6 done] camvid/model-1/seed0: FAILED: no data"
    )
    alone = StudyEvent("train", 50, 100, 1.5, run=RUN, ended=0, total=1, run_seconds_left=65, study_seconds_left=65)
    assert describe_event(alone) == "camvid/model-1/seed0: step 50/100, loss 1.5000, 1 min 5 s left"
    assert describe_event(StudyEvent("train", 0, 0, run=RUN, ended=0, total=1)) == "camvid/model-1/seed0: first step"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (("started",), "preparing"),
        (("prepare", 3, 20), "decoding 3/20 images into the cache"),
        (("prepare", 20, 20), "preparing"),
        (("compile",), "compiling"),
        (("train", 0, 50), "training 0/50"),
        (("train", 50, 50), "training"),
        (("validate",), "validating"),
        (("evaluate", 2, 10), "evaluating 2/10 images"),
        (("evaluate", 10, 10), "evaluating"),
        (("store",), "writing results"),
    ],
)
def test_the_activity_has_no_complete_count(event: tuple[Any, ...], expected: str) -> None:
    assert activity(StudyEvent(*event, run=RUN, ended=17, total=18)) == expected


def test_without_a_terminal_frequent_events_are_thinned_out(capsys: pytest.CaptureFixture[str]) -> None:
    with StudyProgress() as progress:
        for step in range(100):
            progress(StudyEvent("train", step, 100, run=RUN, ended=0, total=1))
        progress(StudyEvent("finished", run=RUN, ended=0, total=1))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2


def test_the_validation_of_a_single_run_is_shown_right_after_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    for total, kinds in ((1, ["step 9/9", "validating", "evaluating 1/4 images"]), (2, ["step 9/9"])):
        with StudyProgress() as progress:
            progress(StudyEvent("train", 9, 9, run=RUN, ended=0, total=total))
            progress(StudyEvent("validate", run=RUN, ended=0, total=total))
            progress(StudyEvent("evaluate", 1, 4, run=RUN, ended=0, total=total))
            progress(StudyEvent("evaluate", 2, 4, run=RUN, ended=0, total=total))
        lines = capsys.readouterr().err.splitlines()
        assert [line.rpartition("seed0: ")[2] for line in lines] == kinds


def test_concurrent_runs_share_a_line_until_they_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("segmi.cli.progress_bars.SECONDS_BETWEEN_LINES", 0.0)
    third = run_of("model-3", 10)
    with StudyProgress() as progress:
        progress(StudyEvent("finished", run=third, ended=1, total=4))
        progress(StudyEvent("started", run=OTHER, ended=1, total=4, text="process 7 on node-3"))
        progress(StudyEvent("prepare", 20, 20, run=OTHER, ended=1, total=4))
        progress(StudyEvent("compile", text="compiling the RMI kernel", run=OTHER, ended=1, total=4))
        progress(StudyEvent("started", run=RUN, ended=1, total=4))
        progress(StudyEvent("note", text="computes in fp32", run=OTHER, ended=1, total=4))
        progress(StudyEvent("train", 5, 10, run=RUN, ended=1, total=4, study_seconds_left=65))
        progress(StudyEvent("finished", run=OTHER, ended=2, total=4))
        progress(StudyEvent("train", 6, 10, run=RUN, ended=2, total=4))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:4] == [
        "[1/4 done] camvid/model-2/seed0: starts (process 7 on node-3)",
        "[1/4 done] camvid/model-2/seed0: preparing",
        "[1/4 done] camvid/model-2/seed0: compiling the RMI kernel",
    ]
    assert lines[-3:] == [
        "[1/4 done] camvid/model-2/seed0 compiling, camvid/model-1/seed0 training 5/10 (1 min 5 s for all)",
        "[2/4 done] camvid/model-2/seed0: finished",
        "[2/4 done] camvid/model-1/seed0: step 6/10",
    ]
    many = [StudyEvent("train", 1, 9, run=RUN, ended=54, total=64)] * 10
    assert describe_together(many, 54).endswith("seed0 training 1/9, and 2 more")


def test_on_a_terminal_every_active_run_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with StudyProgress() as progress:
        table = progress._bars

        def rows() -> list[tuple[object, ...]]:
            return [(row.description, row.completed, row.total, row.fields["status"]) for row in table.tasks]

        progress(StudyEvent("started", run=RUN, ended=0, total=3, text="process 7 on node-3"))
        progress(StudyEvent("prepare", 20, 20, run=RUN, ended=0, total=3))
        progress(StudyEvent("started", run=OTHER, ended=0, total=3))
        assert rows()[1:] == [(RUN.key, 0, None, "preparing"), (OTHER.key, 0, None, "preparing")]
        progress(
            StudyEvent(
                "train", 5, 10, 1.5, 20.0, run=RUN, ended=0, total=3, run_seconds_left=65, study_seconds_left=130
            )
        )
        progress(StudyEvent("evaluate", 1, 3, run=OTHER, ended=0, total=3, study_seconds_left=130))
        assert rows() == [
            ("study", 0, 3, "0/3 runs, 2 min 10 s left"),
            (RUN.key, 5, 10, "training 5/10, loss 1.5000, 20.0 images/s, 1 min 5 s left"),
            (OTHER.key, 1, 3, "evaluating 1/3 images"),
        ]
        assert table.tasks[1].fields["where"] == "process 7 on node-3"
        progress(StudyEvent("validate", run=RUN, ended=0, total=3))
        progress(StudyEvent("compile", text="compiling", run=OTHER, ended=0, total=3))
        assert rows()[1:] == [(RUN.key, 0, None, "validating"), (OTHER.key, 0, None, "compiling")]
        progress(StudyEvent("finished", run=RUN, ended=1, total=3))
        assert rows() == [("study", 1, 3, "1/3 runs"), (OTHER.key, 0, None, "compiling")]


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
    StudyProgress()(StudyEvent("finished", run=RUN, ended=0, total=1))
    assert capsys.readouterr().err == ""


class Observed:
    """A clock that observes events at given times."""

    def __init__(self, *runs: Run) -> None:
        self.time = 0.0
        self.clock = Clock(runs, now=lambda: self.time)

    def at(self, time: float, run: Run, kind: Any, done: int = 0, of: int = 0) -> tuple[float | None, float | None]:
        self.time = time
        return self.clock.observe(run, Event(kind, done, of, loss=1.0 if done else None))


def test_the_clock_estimates_run_and_study_from_the_pace() -> None:
    clock = Observed(RUN, OTHER)
    clock.at(0, RUN, "started")
    assert clock.at(50, RUN, "train", 0, 10) == (None, None), "compiled before the first step"
    assert clock.at(100, RUN, "train", 1, 10) == (None, None), "the first step warms up"
    assert clock.at(102, RUN, "train", 2, 10) == (16.0, 16.0 + 40.0)


def test_a_resumed_run_does_not_count_what_was_done_before() -> None:
    clock = Observed(RUN)
    clock.at(0, RUN, "started")
    clock.at(0, RUN, "train", 8, 10)
    assert clock.at(3, RUN, "train", 9, 10) == (3.0, 3.0)


def test_runs_at_the_same_time_last_as_long_as_the_longest() -> None:
    waiting = [run_of(name, 20) for name in ("model-3", "model-4")]
    clock = Observed(RUN, OTHER, *waiting)
    for run in (RUN, OTHER):
        clock.at(0, run, "started")
        clock.at(0, run, "train", 1, 10)
    # The waiting runs are not measured: the pace of the slowest one is assumed.
    assert clock.at(1, RUN, "train", 2, 11) == (9.0, 10.0 + 20.0)
    assert clock.at(2, OTHER, "train", 2, 11) == (18.0, 18.0 + 40.0)
    clock.at(10, RUN, "finished")
    clock.at(10, waiting[0], "started")
    assert clock.at(11, OTHER, "train", 11, 11) == (0.0, pytest.approx(22.0))


def test_a_budget_in_minutes_needs_no_measured_pace() -> None:
    timed = [
        Run(RunConfig.model_construct(
            study="demo", dataset="camvid", method=f"model-{number}", seed=0, training=TrainingSection(minutes=2)
        ))
        for number in (1, 2)
    ]  # fmt: skip
    clock = Observed(*timed)
    clock.at(0, timed[0], "started")
    clock.at(0, timed[0], "train", 1, 10)
    assert clock.at(30, timed[0], "train", 4, 10) == (60.0, 60.0 + 120.0)
