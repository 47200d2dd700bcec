"""Order of the runs of a study: trials first, then the runs whose settings they choose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segmi.errors import RunError
from segmi.records import RunFolder
from segmi.records.study_records import Selection
from segmi.study.initial_weights import required_runs
from segmi.study.run_config import Run, run_config
from segmi.study.schema import Study
from segmi.study.trials import Search, selected_run


class RunQueue:
    """Runs and trials of a study in rounds; the runs of one round do not depend on each other.

    If trials take the weights of another method, that method has a run with their seed.
    With ``overwrite``, finished runs are done again, and a search starts again if all its runs do.
    """

    def __init__(
        self, study: Study, runs: Sequence[Run], root: Path, *, overwrite: bool = False, init_from: str | None = None
    ) -> None:
        self.runs, self._root, self._overwrite = list(runs), root, overwrite
        self._begun: set[str] = set()
        self._searches: dict[tuple[str, str], Search] = {}
        for run in self.runs:  # grows
            cell = (run.dataset, run.method)
            if run.method in study.searches and cell not in self._searches:
                complete = {one.seed for one in runs if (one.dataset, one.method) == cell} == set(study.seeds)
                search = Search(study, *cell, root, restart=overwrite and complete, init_from=init_from)
                self._searches[cell] = search
                self._add_teachers(study, search.run(0))
            if run.seed == study.search_seed:
                self._add_teachers(study, run)

    def all(self) -> list[Run]:
        """Return every trial and every run in order; settings that are not chosen yet have a value of the search."""
        trials = [search.run(number) for search in self._searches.values() for number in range(search.total)]
        return trials + self.runs

    def next(self) -> list[Run]:
        """Return the runs that can be done now and were not returned before; none if all are done or wait."""
        todo: list[Run] = []
        for search in self._searches.values():
            search.done |= self._begun
            if search.selection() is None:
                trials = [trial.run for trial in search.trials() if trial.record is None]
                todo += [run for run in trials if not self._lacks_weights(run)]
        for run in self.runs:
            selected = self._selected(run)
            todo += [selected] if selected is not None and not self._lacks_weights(run) else []
        todo = [run for run in todo if run.key not in self._begun]
        self._begun |= {run.key for run in todo}
        return todo

    def ended(self) -> list[Run]:
        """Return the trials that ended in an earlier call, perhaps with another configuration."""
        return [
            trial.run
            for search in self._searches.values()
            if not search.restart and search.selection_on_disk() is None
            for trial in search.trials()
            if trial.record
        ]

    def write_selections(self) -> None:
        """Write the settings that searches have chosen next to their runs."""
        for search in self._searches.values():
            search.write_selection()

    def selections(self) -> dict[str, Selection]:
        """Return the results of the searches that have ended, by ``dataset/method``."""
        selections = {"/".join(cell): search.selection() for cell, search in self._searches.items()}
        return {cell: selection for cell, selection in selections.items() if selection}

    def without_selection(self) -> list[tuple[Run, RunError]]:
        """Return the runs that cannot be done because every trial diverged, with the error."""
        result = []
        for run in self.runs:
            search = self._searches.get((run.dataset, run.method))
            selection = search.selection() if search else None
            if selection and selection.winner is None:
                names, last = ", ".join(selection.searched), selection.trials[-1].failure
                message = f"none of the {len(selection.trials)} trials of {names} has a score; the last error: {last}"
                result.append((run, RunError(message, "search other values, or give one")))
        return result

    def waiting(self) -> list[str]:
        """Return the keys of the runs whose trials, or whose sources of weights, are not finished."""
        searching = {cell for cell, search in self._searches.items() if search.selection() is None}
        return [run.key for run in self.runs if (run.dataset, run.method) in searching or self._lacks_weights(run)]

    def _add_teachers(self, study: Study, trial: Run) -> None:
        """Add the runs with the seed of the trials whose weights a trial takes."""
        for other in required_runs(trial):
            if all(run.key != other.key for run in self.runs):
                self.runs.append(Run(run_config(study, other.dataset, other.method, study.search_seed)))

    def _lacks_weights(self, run: Run) -> bool:
        if not self._overwrite and RunFolder(run.folder(self._root)).finished:
            return False
        restarting = {one.key for one in self.runs} - self._begun if self._overwrite else set()
        sources = required_runs(run)
        return any(one.key in restarting or not RunFolder(one.folder(self._root)).finished for one in sources)

    def _selected(self, run: Run) -> Run | None:
        search = self._searches.get((run.dataset, run.method))
        if search is None:
            return run
        selection = search.selection()
        if selection is None or selection.winner is None:
            return None
        return selected_run(run, search.spaces, selection)
