"""Draws docs/page.png, the picture of the page in the README: the quickstart after two minutes."""

import re
import tempfile
import time
from pathlib import Path

from tests.browser.driver import browsing
from tests.e2e.command import start
from tests.simulators.daemons import free_port

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "page.png"
QUICKSTART = ROOT / "examples" / "quickstart.yml"
#: Something that is troubled and something that is down, as every home has.
HOME = """
  - collection: home
    sources:
      - {type: Http, name: shop, url: ["http://127.0.0.1:%d/-/healthy", "http://127.0.0.1:9/"]}
      - {type: Evcc, host: "127.0.0.1:9"}
"""
WATCHED_SECONDS = 120.0
WIDTH, HEIGHT = 1280, 1150


def main() -> None:
    port = free_port()
    text = re.sub(r"(?m)^  port: .*$", f"  port: {port}", QUICKSTART.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^tickTime: .*$", "tickTime: 2", text) + HOME % port
    with tempfile.TemporaryDirectory(prefix="pollect-") as folder:
        (Path(folder) / "config.yml").write_text(text, encoding="utf-8")
        with start("run", "-c", "config.yml", folder=Path(folder)) as daemon, browsing() as browser:
            daemon.wait_for("listening on")
            time.sleep(WATCHED_SECONDS)
            browser.resize(WIDTH, HEIGHT)
            browser.open(f"http://127.0.0.1:{port}/")
            browser.shoot("page", file=FILE)


if __name__ == "__main__":
    main()
