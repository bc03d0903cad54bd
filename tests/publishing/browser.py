"""What a browser makes of a page."""

import os
import shutil
import subprocess
from pathlib import Path

from helpers.publishing import slides

BROWSER = next(filter(None, map(shutil.which, slides.BROWSERS)), None)


def rendered(path: Path, address: str = "") -> str:
    """The HTML of a page after its scripts have run; `address` is what stands behind the path."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [BROWSER, "--headless", "--disable-gpu", *root, "--window-size=1400,900"]
    command += ["--dump-dom", path.as_uri() + address]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
