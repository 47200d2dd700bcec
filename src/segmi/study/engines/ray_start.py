"""Ray, joined where it runs or started here: on this machine's loopback, with a token of its own, telling nobody."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from segmi.errors import EnvironmentProblem, UsageError
from segmi.study.engines.pool import cores

OBJECT_STORE_BYTES: Final = 100 * 2**20
"""What is passed around are news of some hundred bytes; Ray would set aside a third of the memory."""

SECONDS_TO_ANSWER: Final = 5.0

SECONDS_OF_SILENCE: Final = 20.0
"""How long the head of a cluster may not answer; after a minute Ray ends the process that waits for it."""

_ALONE: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # no other machine joins: on any system, listen on the loopback only
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # the processes use this installation, nothing is packed up and unpacked
}


@contextmanager
def joined(address: str | None) -> Iterator[ModuleType]:
    """The module ``ray``, connected inside; one that this process is connected to already is used and left alone.

    Args:
        address: ``HOST:PORT`` of a cluster that this machine belongs to, or ``auto`` for the one that runs here; None
            starts Ray for the time being.

    Raises:
        UsageError: an address that is none.
        EnvironmentProblem: Ray is not installed, does not start, or does not answer at the address.
    """
    _check_address(address)
    with _environment(_variables() if address is None else {}):
        try:
            import ray
        except ImportError as error:
            raise EnvironmentProblem(
                "--engine ray needs the package ray, which is not installed", "pip install 'segmi[ray]'"
            ) from error
        if ray.is_initialized():
            yield ray
            return
        logging.getLogger("ray").setLevel(logging.CRITICAL)  # what is lost is told as news of its run
        with _folder(address) as folder:
            _start(ray, address, folder)
            try:
                yield ray
            finally:
                ray.shutdown()


def is_there(ray: Any, node: str) -> bool:
    """Whether the head of the cluster answers and still knows the machine with the id ``node``."""
    alive: list[str] = []

    def ask() -> None:
        with suppress(Exception):
            alive.extend(one["NodeID"] for one in ray.nodes() if one["Alive"])

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS_OF_SILENCE)
    return node in alive


def _start(ray: Any, address: str | None, folder: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "_skip_env_hook": True}
    if address is None:
        options |= {
            "num_cpus": cores(),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": folder,
        }
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        where = f"at {address}" if address else "on this machine"
        raise EnvironmentProblem(
            f"Ray could not be {'joined' if address else 'started'} {where}: {error}",
            "see `ray status` on the machine of the head, and that it has this version of Ray, or leave --address out"
            if address
            else "use --engine pool, or start Ray by hand with `ray start --head` and give --address auto",
        ) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)  # Ray's own handler would end this process before the runs


def _check_address(address: str | None) -> None:
    """Ask before Ray does, which takes a minute to find out that nobody is there."""
    if address is None or address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UsageError(
            f"--address: expected HOST:PORT or auto, got {address!r}",
            "start segmi on a machine of the cluster and give what `ray start --head` printed there",
        )
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise EnvironmentProblem(
            f"no Ray answers at {address}: {error}", "start it with `ray start --head`, or leave --address out"
        ) from error


@cache
def _variables() -> dict[str, str]:
    """One token for all that this process starts: Ray reads it once."""
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


@contextmanager
def _folder(address: str | None) -> Iterator[str | None]:
    """For the sockets and logs of a Ray that is started here; the path of a socket must be short."""
    if address is not None:
        yield None
        return
    short = Path("/tmp")
    folder = tempfile.mkdtemp(prefix="segmi-ray-", dir=short if short.is_dir() else None)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
