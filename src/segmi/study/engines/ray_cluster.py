"""Connection to a Ray cluster, or a private Ray on this machine: on the loopback, with a token, without statistics."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from segmi.errors import EnvironmentProblem, UsageError

OBJECT_STORE_BYTES: Final = 100 * 2**20  # events have some hundred bytes; by default Ray reserves a third of the memory
SECONDS_TO_ANSWER: Final = 5.0
# Time for the head of a cluster to respond; after a minute Ray ends the process that waits for it.
SECONDS_OF_SILENCE: Final = 20.0

_ALONE: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on any system, listen on the loopback only
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # the processes use this installation, nothing is packed and sent
}


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """Connect to Ray and yield its module; an existing connection of this process is used and kept.

    Args:
        address: ``HOST:PORT`` of a cluster that this machine belongs to, or ``auto`` for the one that runs here. None:
            start Ray on this machine and stop it afterwards.
    """
    _check_address(address)
    with _environment(_variables() if address is None else {}):
        try:
            import ray
        except ImportError as error:
            missing = "--engine ray needs the package ray, which is not installed"
            raise EnvironmentProblem(missing, "pip install 'segmi[ray]'") from error
        if ray.is_initialized():
            yield ray
            return
        logging.getLogger("ray").setLevel(logging.CRITICAL)  # crashes are reported as events of their runs
        with nullcontext() if address else _folder() as folder:
            _start(ray, address, folder)
            try:
                yield ray
            finally:
                ray.shutdown()


def is_alive(ray: Any, node: str) -> bool:
    """Return whether the head of the cluster responds and knows the machine with the id ``node``."""
    alive: list[str] = []

    def ask() -> None:
        with suppress(Exception):
            alive.extend(one["NodeID"] for one in ray.nodes() if one["Alive"])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS_OF_SILENCE)
    return node in alive


def _start(ray: Any, address: str | None, folder: str | None) -> None:
    from segmi.datasets.workers import processors

    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "_skip_env_hook": True}
    if address is None:
        options |= {"num_cpus": processors(), "include_dashboard": False, "_temp_dir": folder}
        options["object_store_memory"] = OBJECT_STORE_BYTES
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        failed = f"reached at {address}" if address else "started on this machine"
        remedy = "use --engine pool, or start Ray by hand with `ray start --head` and give --address auto"
        if address:
            remedy = "check `ray status` on the head, and that it has this version of Ray, or omit --address"
        raise EnvironmentProblem(f"Ray could not be {failed}: {error}", remedy) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)  # Ray's own handler would end this process before the runs


def _check_address(address: str | None) -> None:
    """Check the address before Ray does, which needs a minute to find that nothing responds."""
    if address is None or address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        remedy = "start segmi on a machine of the cluster and give what `ray start --head` printed there"
        raise UsageError(f"--address: expected HOST:PORT or auto, got {address!r}", remedy)
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        remedy = "start it with `ray start --head`, or omit --address"
        raise EnvironmentProblem(f"no Ray responds at {address}: {error}", remedy) from error


@cache
def _variables() -> dict[str, str]:
    """Return the variables with one token for this process: Ray reads it once."""
    return {**_ALONE, "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _folder() -> tempfile.TemporaryDirectory[str]:
    """Create a folder for the sockets and logs of a private Ray; paths of sockets must be short."""
    short = "/tmp" if Path("/tmp").is_dir() else None
    return tempfile.TemporaryDirectory(prefix="segmi-ray-", dir=short, ignore_cleanup_errors=True)
