"""`python -m local.demo.page REPORT.json [FOLDER]`: report.html from a report, into its folder or another.

With `--pictures` also what it looks like in Chromium: on a desktop, in the dark, and on a phone.
"""

import argparse
import io
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from local.chromium import find_chromium, open_chromium
from local.demo.page.render import render_page


@dataclass(frozen=True)
class View:
    width: int
    height: int
    whole: bool = True
    is_dark: bool = False


VIEWS = {
    "desktop": View(1280, 900),
    "desktop-first-screen": View(1280, 900, whole=False),
    "dark-first-screen": View(1280, 900, whole=False, is_dark=True),
    "phone": View(360, 780),
    "phone-first-screen": View(360, 780, whole=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.demo.page", description=__doc__)
    parser.add_argument("report", type=Path, help="a report.json of the demo")
    parser.add_argument("folder", type=Path, nargs="?", help="where report.json and report.html go")
    parser.add_argument("--pictures", action="store_true", help="keep pictures of the page there too; needs Chromium")
    arguments = parser.parse_args()
    folder = (arguments.folder or arguments.report.parent).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    page.write_text(render_page(json.loads(arguments.report.read_text(encoding="utf-8"))), encoding="utf-8")
    if arguments.report.resolve() != folder / "report.json":
        shutil.copyfile(arguments.report, folder / "report.json")
    print(page)
    if arguments.pictures:
        take_pictures(page)


def take_pictures(page: Path) -> None:
    """Take PNG files beside the page; complaints of its console end the command."""
    binary = find_chromium()
    if binary is None:
        sys.exit("no Chromium found (on Debian: apt-get install chromium)")
    with open_chromium(binary) as chromium:
        for name, view in VIEWS.items():
            loaded = chromium.load(
                page.as_uri(), width=view.width, height=view.height, whole=view.whole, is_dark=view.is_dark
            )
            if loaded.complaints or loaded.width > view.width:
                sys.exit(f"{name}: {loaded.width} pixels wide; {loaded.complaints}")
            path = page.with_name(f"{name}.png")
            _save_small(loaded.picture, path)
            print(f"{path} ({path.stat().st_size // 1024} KB)")


def _save_small(picture: bytes, path: Path) -> None:
    """With 256 colours, a third of the size; with 64, small green words came out grey."""
    drawn = Image.open(io.BytesIO(picture)).convert("RGB")
    drawn.quantize(256, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


if __name__ == "__main__":
    main()
