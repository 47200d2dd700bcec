"""What of a study is to be done next: trials first, then the runs for whose methods they have chosen settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from segmi.errors import RunError
from segmi.records import RunFolder
from segmi.study.expand import Run
from segmi.study.provenance import rests_on
from segmi.study.schema import Study
from segmi.study.trials import Search, Trial, chosen


class Agenda:
    """The runs and trials of a study, in rounds: those of one round do not wait for each other.

    Args:
        study: a validated study.
        runs: those that are wanted, as `expand` gives them.
        root: the folder of all runs.
        overwrite: whether what is on the disk is done anew; a search is where all runs that rest on it are.
        change: applied to every trial, such as to start from a bundle.
    """

    def __init__(
        self,
        study: Study,
        runs: Sequence[Run],
        root: Path,
        *,
        overwrite: bool = False,
        change: Callable[[Run], Run] = lambda run: run,
    ) -> None:
        self.runs, self._root, self._overwrite = list(runs), root, overwrite
        self._begun: set[str] = set()
        self._searches: dict[tuple[str, str], Search] = {}
        for run in runs:
            cell = (run.dataset, run.method)
            if run.method in study.searches and cell not in self._searches:
                whole = {one.seed for one in runs if (one.dataset, one.method) == cell} == set(study.seeds)
                self._searches[cell] = Search(study, *cell, root, anew=overwrite and whole, change=change)

    def all(self) -> list[Run]:
        """Every trial and every run, in order; what is not chosen yet is left as `expand` gives it."""
        trials = [search.run(number) for search in self._searches.values() for number in range(search.total)]
        return trials + self.runs

    def next(self) -> list[Run]:
        """What can be done now and was not handed out before; nothing when all is done or waits for what failed."""
        todo: list[Run] = []
        for search in self._searches.values():
            search.done |= self._begun
            if search.selection() is None:
                todo += [trial.run for trial in search.trials() if trial.record is None]
        for run in self.runs:
            resolved = self._resolved(run)
            todo += [resolved] if resolved is not None and not self.missing(run) else []
        todo = [run for run in todo if run.key not in self._begun]
        self._begun |= {run.key for run in todo}
        return todo

    def missing(self, run: Run) -> list[str]:
        """The keys of the runs that must be done before, since it takes their weights."""
        if not self._overwrite and RunFolder(run.folder(self._root)).finished:
            return []
        anew = {one.key for one in self.runs} - self._begun if self._overwrite else set()
        return [
            other.key
            for other in rests_on(run)
            if other.key in anew or not RunFolder(other.folder(self._root)).finished
        ]

    def ended(self) -> list[Run]:
        """The trials that have ended already, and so were begun with what may be another configuration by now."""
        return [trial.run for search in self._searches.values() for trial in self._trials(search) if trial.record]

    def keep(self) -> None:
        """Write what the searches have chosen beside the runs that rest on it."""
        for search in self._searches.values():
            search.keep()

    def unchosen(self) -> list[tuple[Run, RunError]]:
        """The runs that cannot be done since every trial diverged, with the reason."""
        found = []
        for run in self.runs:
            search = self._searches.get((run.dataset, run.method))
            selection = search.selection() if search else None
            if search and selection and selection.winner is None:
                last = selection.trials[-1].failure
                error = RunError(
                    f"none of the {search.total} trials of {', '.join(selection.searched)} ended with a score; the "
                    f"last one: {last}",
                    "search among other values, or give one",
                )
                found.append((run, error))
        return found

    def waiting(self) -> list[str]:
        """The keys of the runs whose trials have not all ended, or that take the weights of runs that have not."""
        return [run.key for run in self.runs if self._searching(run) or self.missing(run)]

    def _searching(self, run: Run) -> bool:
        search = self._searches.get((run.dataset, run.method))
        return search is not None and search.selection() is None

    def _resolved(self, run: Run) -> Run | None:
        search = self._searches.get((run.dataset, run.method))
        if search is None:
            return run
        selection = search.selection()
        if selection is None or selection.winner is None:
            return None
        return chosen(run, search.spaces, selection)

    @staticmethod
    def _trials(search: Search) -> list[Trial]:
        return [] if search.anew or search.selection_on_disk() else search.trials()
