"""A page in a headless Chromium, spoken to through its pipe: no driver and no port are needed."""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium():
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One tab; ``call`` sends a command of the DevTools protocol and waits for its answer."""

    def __init__(self, commands, answers):
        self.commands, self.answers, self.number, self.session = commands, answers, 0, None
        self.requests, self.rest = [], b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        return self.wait(lambda answer: answer.get("id") == self.number).get("result", {})

    def wait(self, wanted):
        while True:
            while b"\0" not in self.rest:
                piece = os.read(self.answers, 1 << 16)
                assert piece, "the browser ended"
                self.rest += piece
            line, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(line)
            assert "error" not in answer, answer
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if wanted(answer):
                return answer

    def show(self, path, width, height):
        """Load a page at a width; the addresses that were asked for are in ``requests``."""
        self.requests.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait(lambda answer: answer.get("method") == "Page.loadEventFired")

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def photograph(self, path, *, whole=True):
        """Write a picture of the page, of all of it or of its first screen."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(folder):
    """A Chromium whose profile is a folder of its own."""
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()

    def as_three_and_four():
        # Copies first, as one of them may be 3 or 4 itself.
        commands, answers = os.dup(read_commands), os.dup(write_answers)
        os.dup2(commands, 3)
        os.dup2(answers, 4)

    options = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run --hide-scrollbars"
    process = subprocess.Popen(
        [find_chromium(), *options.split(), "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"],
        pass_fds=(3, 4),
        preexec_fn=as_three_and_four,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Browser(write_commands, read_answers)
    finally:
        process.kill()
        process.wait()
        os.close(write_commands)
        os.close(read_answers)
