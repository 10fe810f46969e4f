"""A page in headless Chromium, driven through ChromeDriver's own protocol."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


class Browser:
    """One session."""

    def __init__(self, address: str, session: str) -> None:
        self.address = f"{address}/session/{session}"

    def open(self, file: Path) -> None:
        """Load a file and wait until it is there."""
        _post(f"{self.address}/url", {"url": file.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """Run a script in the page, past its security policy, and return its value."""
        return _post(f"{self.address}/execute/sync", {"script": script, "args": []})

    def tool(self, command: str, **params: Any) -> Any:
        """Use a command of the developer tools."""
        return _post(f"{self.address}/goog/cdp/execute", {"cmd": command, "params": params})

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Show the page at a size, in light or dark."""
        self.tool(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tool("Emulation.setEmulatedMedia", features=[scheme])

    def messages(self) -> list[str]:
        """Return what the console said since it was asked last."""
        return [entry["message"] for entry in _post(f"{self.address}/se/log", {"type": "browser"})]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with a profile of its own."""
    assert CHROMIUM is not None
    assert DRIVER is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    driver = subprocess.Popen(
        [DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(address)
        options = {
            "binary": CHROMIUM,
            "args": [*ARGUMENTS, f"--user-data-dir={folder / 'profile'}"],
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        made = _post(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
        yield Browser(address, made["sessionId"])
        _send("DELETE", f"{address}/session/{made['sessionId']}", None)
    finally:
        driver.terminate()
        driver.wait(timeout=30)


def _wait(address: str) -> None:
    for _ in range(100):
        try:
            if _send("GET", f"{address}/status", None)["ready"]:
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("ChromeDriver does not answer")


def _post(address: str, content: dict[str, Any]) -> Any:
    return _send("POST", address, content)


def _send(method: str, address: str, content: dict[str, Any] | None) -> Any:
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, data=body, method=method)
    request.add_header("Content-Type", "application/json")
    # Proxies of the environment are not for this machine itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.loads(answer.read())["value"]
