"""All workers meet before TensorFlow starts its cluster.

TensorFlow's chief waits for its workers without end, deaf to signals and with Python stopped. Here
the waiting has a limit, and the error says who is missing.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence

HELLO = "tfshed"
# Seconds between two tries to reach the chief; seconds one message may take.
PAUSE, PATIENCE = 0.2, 5.0


def meet(addresses: Sequence[str], index: int, seconds: float) -> None:
    """Returns when all workers have called it; uses the port of the chief, and frees it.

    Args:
        addresses: "host:port" of all workers, the chief first; the same in all of them.
        index: which of them this is.
        seconds: how long to wait for the others, at least.

    Raises:
        TimeoutError: not all came; names them. ValueError: a worker has another list of addresses.
        OSError: the chief's port is taken.
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
                    caller.close()  # a stranger: a port scan, a health check
                    continue
                if said[2] != list(addresses):
                    caller.close()
                    raise ValueError(
                        f"expected the same workers everywhere: the chief has {list(addresses)}, "
                        f"worker {said[1]} has {said[2]}"
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
            pass  # not there yet
        time.sleep(PAUSE)


def _receive(end: socket.socket, seconds: float = PATIENCE) -> list | None:
    end.settimeout(seconds)
    try:
        with end.makefile("r", encoding="utf-8") as lines:
            said = json.loads(lines.readline(65536))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, list) and said else None


def _missing(addresses: Sequence[str], missing: Sequence[str], seconds: float) -> str:
    return (
        f"expected {len(addresses)} workers, still missing after {seconds:g} s: "
        f"{', '.join(missing)}. Start the same command on every worker, each with its own index."
    )


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
