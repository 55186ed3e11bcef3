"""Waits until all workers have started, before TensorFlow starts its cluster.

TensorFlow's chief would wait for its workers forever, without reacting to signals. Here the time is
limited, and the error names the workers that are missing.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence

# The first word of every message, by which the chief recognises workers.
HELLO = "tfshed"
# The seconds between two attempts to reach the chief, and the seconds that one message may take.
PAUSE, PATIENCE = 0.2, 5.0


def wait_for_all(addresses: Sequence[str], index: int, seconds: float) -> None:
    """Returns when all workers have called it. It uses the port of the chief and frees it.

    Args:
        addresses: The addresses "host:port" of all workers, the chief first. The list must be the
            same on all workers.
        index: The position of this worker in the list.
        seconds: How long to wait for the others, at least.

    Raises:
        TimeoutError: Some workers have not started. The error names them.
        ValueError: A worker has another list of addresses.
        OSError: The port of the chief is taken.
    """
    if len(addresses) == 1:
        return
    deadline = time.monotonic() + seconds
    if index == 0:
        _wait_for_workers(addresses, deadline, seconds)
    else:
        _call_chief(addresses, index, deadline, seconds)


def _wait_for_workers(addresses: Sequence[str], deadline: float, seconds: float) -> None:
    there: dict[int, socket.socket] = {}
    with socket.create_server(("", _split(addresses[0])[1])) as server:
        try:
            while len(there) < len(addresses) - 1:
                left = deadline - time.monotonic()
                missing = [a for i, a in enumerate(addresses) if i and i not in there]
                if left <= 0:
                    raise TimeoutError(_missing(addresses, missing, seconds))
                server.settimeout(left)
                try:
                    caller, _ = server.accept()
                except TimeoutError:
                    continue
                said = _receive(caller)
                if said is None or said[0] != HELLO:
                    caller.close()  # not a worker, but for instance a port scan or a health check
                    continue
                if said[2] != list(addresses):
                    caller.close()
                    raise ValueError(
                        "workers: expected the same addresses on all of them, received "
                        f"{list(addresses)} on the chief and {said[2]} on worker {said[1]}. Start "
                        "them all with the same list."
                    )
                there[int(said[1])] = caller
            for caller in there.values():
                caller.sendall(b'["go"]\n')
        finally:
            for caller in there.values():
                caller.close()


def _call_chief(addresses: Sequence[str], index: int, deadline: float, seconds: float) -> None:
    message = (json.dumps([HELLO, index, list(addresses)]) + "\n").encode()
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(_missing(addresses, [addresses[0], "or another"], seconds))
        try:
            with socket.create_connection(_split(addresses[0]), timeout=PATIENCE) as chief:
                chief.sendall(message)
                if _receive(chief, left) == ["go"]:
                    return
        except OSError:
            pass  # the chief has not started yet
        time.sleep(PAUSE)


def _receive(end: socket.socket, seconds: float = PATIENCE) -> list | None:
    """The list that the other side has sent; None if it sent nothing or anything else."""
    end.settimeout(seconds)
    try:
        with end.makefile("r", encoding="utf-8") as lines:
            said = json.loads(lines.readline(65536))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, list) and said else None


def _missing(addresses: Sequence[str], missing: Sequence[str], seconds: float) -> str:
    return (
        f"workers: expected {len(addresses)}, still missing after {seconds:g} s: "
        f"{', '.join(missing)}. Start the same command on every worker, each with its own index."
    )


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
