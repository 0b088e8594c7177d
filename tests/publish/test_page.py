"""The page of a release in a real browser: links, console, telephone, contrast in both colour schemes; and
what a page is refused for.
"""

import json
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser

from imagebuild.publish import facts, page_check
from tests.browser import CONTRAST
from tests.release_lab import FIRST, SECOND, Line

# bytes: 80 criteria under 22 columns, a link each
LIMIT = 256 * 1024


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory, homedir: Path) -> tuple[Line, Path]:
    made = Line(tmp_path_factory.mktemp("page") / "line", homedir)
    made.changes["publish"] = {"url": "https://example.org/releases/"}
    made.release(made.material(made.commit("12.1", FIRST)), day="20261112")
    return made, made.release(made.material(made.commit("12.2", SECOND), boot=70.0))


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 360)])
def test_the_page_in_a_browser(
    releases: tuple[Line, Path], browser: Browser, scheme: Literal["light", "dark"], width: int
) -> None:
    _, place = releases
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=True
    )
    shown = context.new_page()
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("requestfailed", lambda request: said.append(request.url))
    shown.goto((place / "index.html").as_uri())
    assert "Debian-Atomic-12-20261126.0" in shown.title()
    assert not said
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(CONTRAST) == []
    assert shown.locator("script").count() == 0
    assert shown.locator("#trends ~ .charts rect").count() > 20
    links = [link.get_attribute("href") or "" for link in shown.locator("a").all()]
    assert len(links) > 100
    for link in links:
        path = unquote(urlsplit(link).path)
        assert (place / path).is_file() if path else shown.locator(f"[id='{link[1:]}']").count() == 1, link
    context.close()


def test_without_scripts(releases: tuple[Line, Path], browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto((releases[1] / "index.html").as_uri())
    shown.get_by_text("Upgraded: 1 package").click()
    assert not shown.get_by_text("bash 5.2-1.amd64 -> 5.2-2.amd64").is_visible()
    shown.get_by_text("Upgraded: 1 package").click()
    assert shown.get_by_text("bash 5.2-1.amd64 -> 5.2-2.amd64").is_visible()
    context.close()


def test_it_is_small(releases: tuple[Line, Path]) -> None:
    assert (releases[1] / "index.html").stat().st_size < LIMIT


def test_index_feed_and_latest(releases: tuple[Line, Path], browser: Browser) -> None:
    made, place = releases
    shown = browser.new_page()
    shown.goto((made.output / "index.html").as_uri())
    rows = [text.split()[0] for text in shown.locator("tbody tr th").all_inner_texts()]
    assert rows == ["Debian-Atomic-12-20261126.0", "Debian-Atomic-12-20261112.0"]
    assert shown.evaluate(CONTRAST) == []
    shown.get_by_role("link", name=place.name).click()
    assert place.name in shown.title()
    shown.close()
    feed = ElementTree.parse(made.output / "releases.atom").getroot()
    space = {"a": "http://www.w3.org/2005/Atom"}
    entries = feed.findall("a:entry", space)
    assert [each.find("a:link", space).get("href") for each in entries] == [  # type: ignore[union-attr]
        "https://example.org/releases/Debian-Atomic-12-20261126.0/index.html",
        "https://example.org/releases/Debian-Atomic-12-20261112.0/index.html",
    ]
    assert feed.find("a:updated", space) is not None
    latest = json.loads((made.output / "latest.json").read_text())
    assert latest["compose_id"] == latest["refs"]["debian/12/x86_64/atomic-host"] == place.name


# --- what a page is refused for -----------------------------------------------------------------------------


def found_in(releases: tuple[Line, Path], *changes: tuple[str, str]) -> list[str]:
    """Change the page of the second release and say what is found wrong with it."""
    _, place = releases
    text = (place / "index.html").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    listed = [str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()]
    known = facts.read(place)
    return page_check.problems(
        text,
        compose_id=place.name,
        listed=listed,
        manifest=f"{place.name}-{known.arch}-CHECKSUM",
        downloads=known.downloads,
    )


QCOW2, RAW = (
    f"AtomicHost/x86_64/images/Debian-AtomicHost-12-20261126.0.x86_64.{kind}" for kind in ("qcow2", "raw.xz")
)
CHECKSUM = "AtomicHost/x86_64/{}/Debian-AtomicHost-12-20261126.0-x86_64-CHECKSUM"


def test_the_real_page_is_right(releases: tuple[Line, Path]) -> None:
    assert found_in(releases) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            [('content="Debian-Atomic-12-20261126.0"', 'content="Debian-Atomic-12-20261112.0"')],
            "it is the page of 'Debian-Atomic-12-20261112.0'",
        ),
        ([(f'href="{QCOW2}"', 'href="../Debian-Atomic-12-20261112.0/x.qcow2"')], "leads out of this compose"),
        ([(f'href="{QCOW2}"', 'href="https://example.org/x.qcow2"')], "leads out of this compose"),
        ([(f'href="{QCOW2}"', 'href="%2e%2e/x.qcow2"')], "leads out of this compose"),
        ([(f'href="{QCOW2}"', f'href="{RAW}"')], "swapped"),
        (
            [
                (f'href="{QCOW2}"', 'href="x"'),
                (f'href="{RAW}"', f'href="{QCOW2}"'),
                ('href="x"', f'href="{RAW}"'),
            ],
            "swapped",
        ),
        ([(f'href="{CHECKSUM.format("iso")}"', f'href="{CHECKSUM.format("images")}"')], "is linked 2 times"),
        ([('href="report.html"', 'href="reports.html"')], "is in no CHECKSUM"),
        ([('href="#verify"', 'href="#verified"')], "leads nowhere"),
        ([("</main>", "<script>1</script></main>")], "has scripts"),
        ([("</main>", '<img src="https://example.org/x.png"></main>')], "leads out of this compose"),
    ],
)
def test_pages_that_are_refused(
    releases: tuple[Line, Path], changes: list[tuple[str, str]], says: str
) -> None:
    assert [problem for problem in found_in(releases, *changes) if says in problem]


def test_a_wrong_checksum_is_refused(releases: tuple[Line, Path]) -> None:
    fact = facts.read(releases[1]).downloads[1]
    assert found_in(releases, (fact.sha256, "0" * 64)) == [
        f"the row of {fact.path} shows another name or checksum"
    ]
