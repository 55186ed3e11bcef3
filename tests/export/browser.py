"""Chromium without a window, driven through ChromeDriver's own protocol (WebDriver)."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def missing() -> str:
    for name in ("chromium", "chromedriver"):
        if shutil.which(name) is None:
            return f"{name} is not installed (Debian: apt-get install chromium chromium-driver)"
    return ""


class Page:
    """An open page."""

    def __init__(self, address: str):
        self.address = address

    def __call__(self, method: str, path: str, **content):
        body = None if method == "GET" else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, body, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())["value"]

    def run(self, script: str):
        """What a function body in JavaScript returns."""
        return self("POST", "/execute/sync", script=script, args=[])

    def wait_for(self, script: str, seconds: float = 60.0):
        """The first answer of a script that is not empty."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.run(script):
                return found
            time.sleep(0.1)
        raise TimeoutError(f"{script} gave nothing in {seconds} s; {self.run(TEXT)}")

    def screenshot(self) -> bytes:
        """A PNG."""
        return base64.b64decode(self("GET", "/screenshot"))


TEXT = "return document.body.innerText"


@contextlib.contextmanager
def opened(url: str, folder):
    """The page at an address; `folder` is for Chromium's own files."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    root = Page(f"http://127.0.0.1:{port}")
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                if root("GET", "/status")["ready"]:
                    break
            time.sleep(0.1)
        options = {
            "binary": shutil.which("chromium"),
            "args": [*FLAGS, f"--user-data-dir={folder}"],
        }
        wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
        session = root("POST", "/session", capabilities=wanted)["sessionId"]
        page = Page(f"{root.address}/session/{session}")
        try:
            page("POST", "/url", url=url)
            yield page
        finally:
            page("DELETE", "")
    finally:
        driver.terminate()
        driver.wait()
