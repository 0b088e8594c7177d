"""The page of a compose of several architectures in a real browser."""

from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser

from imagebuild.publish import facts
from tests.browser import CONTRAST
from tests.release_lab import FIRST, SECOND, Line

LIMIT = 2 * 256 * 1024


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory, homedir: Path) -> Path:
    place = tmp_path_factory.mktemp("joint")
    publish = {"url": "https://example.org/releases/", "arches": ["x86_64", "aarch64"]}
    line = Line(place / "line", homedir, changes={"publish": publish})
    arm = Line(
        place / "arm",
        homedir,
        changes={"publish": publish},
        ref="debian/12/aarch64/atomic-host",
        arch="aarch64",
    )
    arm.output = line.output
    for of in (line, arm):
        of.release(of.material(of.commit("12.1", FIRST)), day="20261112")
    line.release(line.material(line.commit("12.2", SECOND)))
    return arm.release(arm.material(arm.commit("12.2", SECOND)))


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 360)])
def test_the_page_in_a_browser(
    compose: Path, browser: Browser, scheme: Literal["light", "dark"], width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    shown = context.new_page()
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("requestfailed", lambda request: said.append(request.url))
    shown.goto((compose / "index.html").as_uri())
    assert compose.name in shown.title()
    assert not said
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(CONTRAST) == []
    assert shown.locator("script").count() == 0
    links = [link.get_attribute("href") or "" for link in shown.locator("a").all()]
    assert len(links) > 200
    for link in links:
        path = unquote(urlsplit(link).path)
        assert (compose / path).is_file() if path else shown.locator(f"[id='{link[1:]}']").count() == 1, link
    for known in facts.read_all(compose):
        section = shown.locator(f"section#{known.arch}")
        assert section.locator("tr[data-path]").count() == len(known.downloads)
        assert section.get_by_text(known.tree.commit, exact=True).count() >= 1
        assert section.locator(".charts rect").count() > 20
        assert section.get_by_text("Upgraded: 1 package").count() == 1
    context.close()


def test_it_is_small(compose: Path) -> None:
    assert (compose / "index.html").stat().st_size < LIMIT


def test_the_announcement_is_of_both(compose: Path) -> None:
    text = (compose / "announcement.txt").read_text()
    assert "is out for aarch64, x86_64." in text
    for known in facts.read_all(compose):
        assert f"Commit ({known.arch}): {known.tree.commit}" in text
        base = f"https://example.org/releases/{compose.name}"
        assert f"{base}/{known.downloads[0].path}\n" in text
        assert f"{base}/{compose.name}-{known.arch}-CHECKSUM\n" in text
        assert f"{base}/metadata/{known.arch}/changes.txt\n" in text
    assert "\n\n\n" not in text
    assert all(len(line) < 200 for line in text.splitlines())
