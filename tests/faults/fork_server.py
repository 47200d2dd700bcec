"""Process that has imported everything and forks a child for each command.

Run as ``python fork_server.py``. It reads requests from stdin, one JSON object per line, and answers each with a line:

* ``{"start": arguments, "output": file, "fault": "name option …", "environment": {…}}``: the id of a process that runs
  the command with a fault of ``injected_faults.py``, and writes its output to the file;
* ``{"wait": id}``: its exit code, or the negative number of the signal that killed it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any


def serve() -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    _import_everything()
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _do(order)
        print(answer, flush=True)


def _import_everything() -> None:
    """Import what commands import, without computing anything, since a process with threads cannot be forked."""
    import injected_faults  # noqa: F401
    import lightning  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    import segmi.cli
    import segmi.datasets.cache
    import segmi.deploy
    import segmi.report
    import segmi.study.run
    import segmi.study.validation
    import segmi.training.fit  # noqa: F401


def _do(order: dict[str, Any]) -> None:
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order["environment"])
    code = 70
    try:
        import injected_faults

        import segmi.cli

        if order["fault"]:
            name, *options = order["fault"].split()
            getattr(injected_faults, name)(*options)
        code = segmi.cli.main(order["start"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
