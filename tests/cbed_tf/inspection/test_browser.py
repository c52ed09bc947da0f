"""The report of `cbed inspect` in a real browser: everything on the page is there and is drawn."""

import json
import re
import shutil
import subprocess

import pytest
from matplotlib.image import imread

import cbed_tf
from cbed_tf.__main__ import main

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
# What the page itself says once it is loaded.
PROBE = """<script>
addEventListener("load", () => {
  const images = [...document.images];
  document.body.dataset.probe = JSON.stringify({
    images: images.length,
    drawn: images.filter((image) => image.naturalWidth > 0).length,
    headings: [...document.querySelectorAll("h2")].map((heading) => heading.textContent),
    rows: document.querySelectorAll("tr").length,
    outside: performance.getEntriesByType("resource")
      .map((entry) => entry.name).filter((name) => !name.startsWith("data:")),
    wide: document.documentElement.scrollWidth > innerWidth,
  });
});
</script>"""


def browse(page, folder, *words):
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", "--window-size=1200,4300",
    ]  # fmt: skip
    words = [BROWSER, *options, *words, page.as_uri()]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
def test_the_page_is_complete_and_drawn(tmp_path):
    page = tmp_path / "archive.html"
    assert main(["inspect", f"--input_dir={cbed_tf.sample_archive()}", f"--output={page}"]) == 0
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    assert PROBE in probed.read_text()

    dom = browse(probed, tmp_path, "--dump-dom")
    (found,) = re.findall(r'data-probe="([^"]*)"', dom)
    found = json.loads(found.replace("&quot;", '"'))
    assert found["images"] == found["drawn"] > 0
    assert {"Splits", "Space groups", "Beam energies", "Leaks between splits", "Patterns"} <= set(
        found["headings"]
    )
    assert found["rows"] > 30
    assert found["outside"] == []
    assert not found["wide"]

    browse(page, tmp_path, f"--screenshot={tmp_path / 'page.png'}")
    pixels = imread(tmp_path / "page.png")[..., :3]
    assert pixels.shape[1] == 1200
    dark = (pixels.max(axis=2) < 0.1).mean()
    assert 0.05 < dark < 0.5  # the patterns' corners are black, the page is white
    assert (pixels.min(axis=2) > 0.95).mean() > 0.4
