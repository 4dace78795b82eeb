"""A headless Chromium, spoken to over two pipes by the Chrome DevTools Protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 60.0
FLAGS = (
    "--headless",
    "--no-sandbox",  # it refuses to sandbox itself as root, and sees only our own page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None if there is none."""
    return shutil.which("chromium") or shutil.which("google-chrome")


class Tab:
    """One empty tab. `said` is what the page has said on the console, errors of its policy too."""

    def __init__(self, browser: "Browser") -> None:
        self._browser = browser
        self.said: list[str] = []
        target = browser.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attach = {"targetId": target, "flatten": True}
        self._session = browser.call("Target.attachToTarget", attach)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        result = self._browser.call(method, params, self._session)
        self._listen()
        return result

    def open(self, url: str) -> None:
        """Load a page."""
        self._browser.events.clear()
        self.call("Page.navigate", url=url)
        self.wait("Page.loadEventFired")

    def wait(self, event: str) -> None:
        """Wait for an event."""
        self._browser.wait(event, self._session)
        self._listen()

    def evaluate(self, script: str) -> Any:  # noqa: ANN401  # whatever the script gives
        """Return what an expression gives in the page, as the console of a person would."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def resize(self, width: int, height: int = 800) -> None:
        """Give the page another size, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, **features: str) -> None:
        """Have the person prefer something, such as a colour scheme."""
        found = [
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()
        ]
        self.call("Emulation.setEmulatedMedia", features=found)

    def let_pass(self, seconds: float) -> None:
        """Let the time of the page run on, as fast as it can."""
        policy = {"policy": "pauseIfNetworkFetchesPending", "budget": 1000 * seconds}
        self._browser.events.clear()
        self.call("Emulation.setVirtualTimePolicy", **policy)
        self.wait("Emulation.virtualTimeBudgetExpired")

    def press(self, key: str, code: int) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def picture(self, *, whole: bool = False) -> bytes:
        """Return a picture of what is seen, or of the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def names(self) -> list[tuple[str, str]]:
        """Return role and name of all that a screen reader is told."""
        tree = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree
            if not node["ignored"]
        ]

    def _listen(self) -> None:
        for event in self._browser.taken(self._session):
            match event["method"]:
                case "Runtime.consoleAPICalled":
                    self.said += [str(one.get("value")) for one in event["params"]["args"]]
                case "Runtime.exceptionThrown":
                    self.said.append(event["params"]["exceptionDetails"]["text"])
                case "Log.entryAdded":
                    self.said.append(event["params"]["entry"]["text"])


class Browser:
    """A Chromium with a profile of its own, for as long as the with-block lasts."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._numbers = itertools.count(1)
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        asks, self._asked = os.pipe()
        self._answers, answered = os.pipe()
        # It reads from descriptor 3 and writes to 4.
        script = f'exec "$@" 3<&{asks} 4>&{answered}'
        home = Path(self._folder.name)
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, "-", self._program, *FLAGS, f"--user-data-dir={home}"],
            pass_fds=(asks, answered),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home)},
        )
        os.close(asks)
        os.close(answered)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.call("Browser.close", {})
            self._process.wait(PATIENCE_S)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._asked)
        os.close(self._answers)
        self._folder.cleanup()

    def call(
        self, method: str, params: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        """Call a method and return its result; events that come meanwhile are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._asked, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer)
        return dict(answer["result"])

    def wait(self, method: str, session: str) -> None:
        """Wait until an event has come."""

        def came() -> bool:
            return any(
                event.get("method") == method and event.get("sessionId") == session
                for event in self.events
            )

        while not came():
            self.events.append(self._next())

    def taken(self, session: str) -> list[dict[str, Any]]:
        """Take the kept events of a session out."""
        own = [event for event in self.events if event.get("sessionId") == session]
        self.events = [event for event in self.events if event not in own]
        return own

    def _next(self) -> dict[str, Any]:
        """Return the next message."""
        end = time.monotonic() + PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(end - time.monotonic(), 0))
            assert ready, "Chromium says nothing"
            read = os.read(self._answers, 1 << 20)
            assert read, "Chromium has ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))
