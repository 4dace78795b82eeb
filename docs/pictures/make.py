"""Make the pictures of the README: `make pictures`. Needs Chromium, and half a minute.

status-page.png is the status page on a bad night, as a browser shows it. demo.svg is what
`freshtoken demo` shows on a terminal: the real job, second by second, as an animation in CSS.
"""

import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import page_fixtures
from browser import Browser, Tab, find_chromium
from rich.console import Console

from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
from job.core.clock import system_clock
from job.core.refresher import Refresher
from job.demo.server import AuthorizationServer
from job.demo.setup import new_clients, write_configuration
from job.inventory.kinds import load
from job.runners.daemon import Daemon
from job.verbs.demo_view import DemoView

FOLDER = Path(__file__).parent
NIGHT = 1_764_000_000
PAGE_SIZE = (1000, 700)

TOKENS = 3
LIFE_S = 20
FRAMES = 20
SIZE = (88, 24)

CLIPPING = re.compile(r' clip-path="[^"]*"')
# The template of rich, without its frame and its fonts from elsewhere.
FRAME = """\
<g class="frame" style="animation-delay: DELAYs"><style>{styles}
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px "DejaVu Sans Mono", monospace }}
</style><g class="{unique_id}-matrix">{backgrounds}{matrix}</g></g>
"""
ANIMATION = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>freshtoken demo: three tokens of 20 seconds, each replaced long before it ends</title>
<style>
.frame {{ visibility: hidden; animation: {length}s step-end infinite shown }}
@keyframes shown {{ 0% {{ visibility: visible }} {share:.3f}% {{ visibility: hidden }} }}
@media (prefers-reduced-motion) {{ .frame {{ animation: none }}
.frame:last-of-type {{ visibility: visible }} }}
</style>
<rect width="100%" height="100%" rx="8" fill="#292929"/>
<g transform="translate(12 12)">
{frames}
</g>
</svg>
"""


def page() -> bytes:
    """Return a picture of the status page on a bad night."""
    program = find_chromium()
    if program is None:
        raise SystemExit("Chromium is needed: apt-get install chromium fonts-dejavu-core")
    with (
        page_fixtures.served(lambda: page_fixtures.bad_night(NIGHT), lambda: NIGHT) as url,
        Browser(program) as browser,
    ):
        tab = Tab(browser)
        tab.resize(*PAGE_SIZE)
        tab.prefer(prefers_color_scheme="light")
        tab.open(url)
        return tab.picture()


def recording() -> str:
    """Run the job of the demo and return what its view shows, a frame for each second."""
    clients = new_clients(TOKENS)
    with (
        tempfile.TemporaryDirectory(prefix="freshtoken-demo-") as folder,
        AuthorizationServer(clients, LIFE_S) as server,
    ):
        path = write_configuration(folder, server.token_url, clients, LIFE_S)
        composed = RefresherSet(Tools({}, "demo", system_clock))
        commands = (f"cat {folder}/tiki.json", f"freshtoken status --watch --config {path}")
        view = DemoView(server.token_url, list(clients), commands, composed.in_force)
        return animated(list(frames(view, lambda: composed.update(load(path, {}).tokens))))


def frames(view: DemoView, refreshers: Callable[[], Mapping[str, Refresher]]) -> Iterator[str]:
    """Run the job, and yield the picture at each second."""
    daemon = Daemon(refreshers(), view.observe, lambda _: refreshers())
    worker = threading.Thread(target=daemon.run)
    worker.start()
    try:
        for number in range(FRAMES):
            time.sleep(1)
            yield drawn(view, number)
    finally:
        daemon.obey("stop", "the recording is over")
        worker.join()


def drawn(view: DemoView, number: int) -> str:
    """Return one frame as SVG."""
    with Path("/dev/null").open("w") as nowhere:
        width, height = SIZE
        console = Console(
            file=nowhere, record=True, width=width, height=height, force_terminal=True
        )
        console.print(view.picture(height))
        svg = console.export_svg(code_format=FRAME, unique_id=f"f{number}")
    return CLIPPING.sub("", svg).replace("DELAY", str(number), 1)


def animated(shown: list[str]) -> str:
    """Join frames to an animation of one frame a second."""
    width, height = SIZE
    return ANIMATION.format(
        width=round(12.2 * width) + 24,
        height=round(24.4 * height) + 24,
        length=len(shown),
        share=100 / len(shown),
        frames="\n".join(shown),
    )


if __name__ == "__main__":
    (FOLDER / "status-page.png").write_bytes(page())
    (FOLDER / "demo.svg").write_text(recording(), "utf-8")
