"""A real browser, spoken to over a pipe (DevTools protocol): what a page says, asks for and looks like at a width."""

import base64
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
HEIGHT = 900


def executable():
    """Path of a browser, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """Headless chromium with one tab; use as a context manager."""

    def __init__(self, path):
        self.folder = tempfile.mkdtemp(prefix="argonaut-browser-")
        reads, self.sink = os.pipe()
        self.source, writes = os.pipe()
        flags = "--headless=new --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe --hide-scrollbars"
        command = f"exec {shlex.quote(path)} {flags} --user-data-dir={self.folder} about:blank 3<&{reads} 4>&{writes}"
        self.process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(reads, writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(reads)
        os.close(writes)
        self.number, self.buffer, self.events, self.session = 0, b"", [], None
        tab = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=20)
        os.close(self.sink)
        os.close(self.source)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, method, **parameters):
        """Send a command and return its result; events that arrive meanwhile are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.sink, json.dumps(message).encode() + b"\0")
        while (told := self.read()).get("id") != self.number:
            self.events.append(told)
        assert "error" not in told, f"{method}: {told['error']}"
        return told["result"]

    def read(self):
        """The next message."""
        while b"\0" not in self.buffer:
            chunk = os.read(self.source, 1 << 16)
            assert chunk, "the browser has gone"
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, url, width, dark=False):
        """Show a page in a window so wide, and wait until it has come to rest; forgets what was said before."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=HEIGHT, deviceScaleFactor=1, mobile=False)
        scheme = "dark" if dark else "light"
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Page.navigate", url="about:blank")
        self.events.clear()
        self.ask("Page.navigate", url=url)
        for _ in range(200):
            if self.run("document.readyState === 'complete' && location.href !== 'about:blank'"):
                break
            time.sleep(0.05)
        time.sleep(0.3)
        self.run("1")

    def run(self, expression):
        """The value of a JavaScript expression."""
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def complaints(self):
        """Warnings and errors of console and page, and requests that failed or went out, since the page was opened."""
        found = []
        for event in self.events:
            name, told = event.get("method"), event.get("params", {})
            if name == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
                found.append(f"console {told['type']}: {told['args']}")
            elif name == "Runtime.exceptionThrown":
                found.append(f"exception: {told['exceptionDetails']}")
            elif name == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                found.append(f"log: {told['entry']['text']}")
            elif name == "Network.loadingFailed":
                found.append(f"failed: {told.get('errorText')}")
            elif name == "Network.requestWillBeSent" and not told["request"]["url"].startswith(("file:", "data:")):
                found.append(f"request: {told['request']['url']}")
        return found

    def screenshot(self, path):
        """The whole page as a PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        told = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(told["data"]))


LOOK = """
(() => {
  const found = [], inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1
    && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} px wide in a window of ${innerWidth}`);
  for (const svg of document.querySelectorAll("svg")) {
    const name = svg.closest("[id]").id, box = svg.getBoundingClientRect();
    if (box.width < 200 || box.height < 80) found.push(`${name} is ${box.width} x ${box.height} px`);
    const shown = [...svg.querySelectorAll('[id*="-data-"] path, [id*="-data-"] use')].filter(part => {
      const own = part.getBoundingClientRect(), style = getComputedStyle(part);
      return own.width + own.height > 1 && own.right > box.left && own.left < box.right
        && (style.fill !== "none" || style.stroke !== "none");
    });
    if (shown.length === 0) found.push(`${name} shows no data`);
    const texts = [...svg.querySelectorAll("text")].map(text => {
      const matrix = text.getScreenCTM(), size = parseFloat(getComputedStyle(text).fontSize);
      return {text: text.textContent, box: text.getBoundingClientRect(), size: size * Math.hypot(matrix.a, matrix.b)};
    });
    if (texts.length < 3) found.push(`${name} has ${texts.length} texts`);
    texts.forEach((one, index) => {
      if (one.size < 9) found.push(`${name}: '${one.text}' is ${one.size.toFixed(1)} px`);
      if (!inside(one.box, box)) found.push(`${name}: '${one.text}' is cut off`);
      for (const other of texts.slice(index + 1)) {
        const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
        const down = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
        if (across > 2 && down > 4) found.push(`${name}: '${one.text}' and '${other.text}' overlap`);
      }
    });
  }
  for (const text of document.querySelectorAll("p, td, th, dd, dt, li, figcaption, summary, h1, h2, h3")) {
    if (parseFloat(getComputedStyle(text).fontSize) < 12) found.push(`small: ${text.textContent}`);
    const own = text.getBoundingClientRect();
    if (own.right > innerWidth + 1 && !text.closest(".scroll, pre")) found.push(`sticks out: ${text.textContent}`);
  }
  return found;
})()
"""
"""What is wrong with a report as it stands on the screen, as a list of sentences."""


def faults(browser, path, width, dark=False):
    """Everything wrong with a report opened in a window so wide; empty for a good one."""
    browser.open(path.resolve().as_uri(), width, dark)
    return browser.complaints() + browser.run(LOOK)
