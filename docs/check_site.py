"""Open every page of the built site in Chromium, at phone and desktop width.

``python docs/check_site.py build/docs`` lists links that lead nowhere, pictures that do
not load, console errors, requests that leave the site, and pages that scroll sideways;
it exits with 1 if there are any. ``--pictures FOLDER`` keeps a screenshot of each page.
The browser is spoken to over a pipe, by its DevTools protocol; nothing is installed.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

WIDTHS = {"phone": 390, "desktop": 1280}
THEMES = ("light", "dark")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
LOOK = """(() => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  const far = [...document.querySelectorAll("article *")].filter(
    (e) => e.getBoundingClientRect().right > innerWidth + 1);
  const torn = [...document.images].filter((i) => i.complete && !i.naturalWidth);
  return {wide, far: wide > 0 && far.length ? far[0].outerHTML.slice(0, 90) : "",
          torn: torn.map((i) => i.src), height: document.documentElement.scrollHeight};
})()"""


class Page(HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take one tag."""
        del tag
        for name, value in attrs:
            if name in {"href", "src"} and value is not None:
                self.links.append(value)
            elif name == "id" and value:
                self.anchors.add(value)


def broken_links(site: Path) -> list[str]:
    """Return every local link that leads to no file, or to no anchor of its page."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            if urlsplit(link).scheme:
                continue
            address, anchor = urldefrag(link)
            file = unquote(address.partition("?")[0])
            target = (path.parent / file).resolve() if file else path
            known = pages[target].anchors if target in pages else None
            lost = known is not None and bool(anchor) and unquote(anchor) not in known
            if not target.is_file() or lost:
                broken.append(f"{path.relative_to(site)}: {link} leads nowhere")
    return broken


class Browser:
    """A headless Chromium with one tab."""

    def __init__(self, program: str, profile: str) -> None:
        read, self._out = os.pipe()
        self._in, write = os.pipe()
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        null = os.open(os.devnull, os.O_WRONLY)
        wires = [(read, 3), (write, 4), (null, 1), (null, 2)]
        # copies above the numbers that are wanted, so that none overwrites another
        high = [(os.dup2(old, 60 + i), new) for i, (old, new) in enumerate(wires)]
        self._pid = os.posix_spawnp(
            program,
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, old, new) for old, new in high],
        )
        for old, _ in (*wires, *high):
            if old != null:
                os.close(old)
        self._rest, self._count, self._session = b"", 0, ""
        self.events: list[dict] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: object) -> dict:
        """Call a method of the protocol and return its result."""
        self._count += 1
        number = self._count
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            pass
        if "error" in answer:
            msg = f"{method}: {answer['error']['message']}"
            raise RuntimeError(msg)
        return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._rest:
            piece = os.read(self._in, 1 << 16)
            if not piece:
                msg = "the browser closed its pipe"
                raise RuntimeError(msg)
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def visit(self, url: str) -> None:
        """Open a page and wait until it has loaded."""
        self.events.clear()
        self("Page.navigate", url=url)
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self._next()

    def close(self) -> None:
        """Close the browser and wait for its end."""
        self("Browser.close")
        os.waitpid(self._pid, 0)


def complaint(event: dict) -> str | None:
    """Return what a browser's event has to complain of."""
    what, kind = event["params"], event["method"]
    if kind == "Runtime.exceptionThrown":
        return what["exceptionDetails"]["text"]
    if kind == "Runtime.consoleAPICalled" and what["type"] in {"error", "warning"}:
        return f"console: {what['args']}"
    if kind == "Log.entryAdded" and what["entry"]["level"] in {"error", "warning"}:
        return f"log: {what['entry']['text']} {what['entry'].get('url', '')}"
    if kind == "Network.loadingFailed":
        return f"not loaded: {what['errorText']}"
    if kind == "Network.requestWillBeSent":
        url = what["request"]["url"]
        return None if url.startswith(("file:", "data:")) else f"asks for {url}"
    return None


def faults(browser: Browser, site: Path, page: Path, pictures: Path | None) -> set[str]:
    """Return what is wrong with a page at each width; keep pictures if asked."""
    found: set[str] = set()
    for name, width in WIDTHS.items():
        frame = {"deviceScaleFactor": 1, "mobile": False}
        browser("Emulation.setDeviceMetricsOverride", width=width, height=900, **frame)
        browser.visit(page.as_uri())
        look = browser("Runtime.evaluate", expression=LOOK, returnByValue=True)
        seen = look["result"]["value"]
        found |= {f"picture {image} is missing" for image in seen["torn"]}
        found |= {said for e in browser.events if (said := complaint(e)) is not None}
        if seen["wide"] > 0:
            found.add(f"{seen['wide']} px too wide for a {name}: {seen['far']}")
        if pictures is not None:
            for theme in THEMES:
                scheme = {"name": "prefers-color-scheme", "value": theme}
                browser("Emulation.setEmulatedMedia", features=[scheme])
                whole = min(seen["height"], 8000)
                clip = {"x": 0, "y": 0, "width": width, "height": whole, "scale": 1}
                shot = browser(
                    "Page.captureScreenshot", clip=clip, captureBeyondViewport=True
                )
                stem = page.relative_to(site).with_suffix("").as_posix()
                file = pictures / f"{stem.replace('/', '.')}.{name}.{theme}.png"
                file.write_bytes(base64.b64decode(shot["data"]))
    return found


def open_all(
    program: str, site: Path, pages: list[Path], pictures: Path | None
) -> list[str]:
    """Open pages one after the other and return what is wrong with them."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        found = [
            f"{page.relative_to(site)}: {fault}"
            for page in pages
            for fault in sorted(faults(browser, site, page, pictures))
        ]
        browser.close()
    return found


def main() -> int:
    """Check the site that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", type=Path, help="folder of the built pages")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    parser.add_argument("--links", action="store_true", help="links only, no browser")
    parser.add_argument("--only", default="**/*.html", help="pattern of pages")
    arguments = parser.parse_args()
    site = arguments.site.resolve()
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    found = broken_links(site)
    pages = [] if arguments.links else sorted(site.glob(arguments.only))
    if pages:
        found += open_all(arguments.chromium, site, pages, arguments.pictures)
    print("\n".join([*found, f"{len(pages)} pages opened, {len(found)} faults"]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
