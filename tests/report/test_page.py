"""The report, opened in a real browser: links, console errors, what a click does, and whether a telephone can
show it.
"""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser

from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell
from imagebuild.report.page import write_junit, write_page

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
REASONS = {
    State.FAILED: "<script>alert(1)</script> & \x1b[31mred",
    State.WAIVED: "waived by Ada: known (until 2030-01-01)",
}


def cell(
    artifact: str, criterion: str, state: State, reason: str = "", firmware: Firmware = Firmware.UEFI
) -> Cell:
    return Cell(
        criterion=criterion,
        artifact=artifact,
        firmware=firmware,
        state=state,
        reason=reason or REASONS.get(state, ""),
        evidence=f"{criterion}.log",
        seconds=1.5,
    )


@pytest.fixture
def found(tmp_path: Path) -> list[tuple[Cell, Path]]:
    """Two artifacts with every state there is, and evidence of both."""
    cells = []
    for artifact in ("Debian-AtomicHost-12.1.x86_64.qcow2", "disk cloud #1"):
        place = tmp_path / "evidence" / artifact
        (place / "second").mkdir(parents=True)
        (place / "boots.json").write_text(
            json.dumps(
                [
                    {
                        "name": "first",
                        "phases": {"firmware": 1.0, "kernel": 9.0, "userspace": 20.0, "ssh": 60.0},
                        "problem": "",
                    }
                ]
            )
        )
        (place / "screen.png").write_bytes(PNG)
        (place / "serial.log").write_text("boot")
        for number, state in enumerate(State):
            one = cell(artifact, f"criterion-{number}", state)
            (place / one.evidence).write_text(f"$ command {number}\n" + "x" * 9000)
            cells.append((one, place))
    (odd,) = [
        pair for pair in cells if pair[0].criterion == "criterion-0" and pair[0].artifact.endswith("#1")
    ]
    carried = replace(
        cell("disk cloud #1", "carried", State.PASSED, "carried over by identity from x"), carried=True
    )
    cells.append((carried, odd[1]))
    (odd[1] / "carried.log").write_text("# carried\n")
    return cells


def test_the_page_in_a_browser(tmp_path: Path, found: list[tuple[Cell, Path]], browser: Browser) -> None:
    file = tmp_path / "report.html"
    write_page(file, "Debian Atomic Host 12: 12.1", found)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto(file.as_uri())
    assert page.title() == "Debian Atomic Host 12: 12.1"
    links = [link.get_attribute("href") or "" for link in page.locator("a").all()]
    assert len(links) > 30
    for link in links:
        if link.startswith("#"):
            assert page.locator(f"[id='{link[1:]}']").count() == 1, link
        else:
            assert (tmp_path / unquote(urlsplit(link).path)).is_file(), link
    # a cell opens its evidence
    details = page.locator("details", has_text="criterion-1").first
    assert not details.evaluate("element => element.open")
    page.locator("td a", has_text="failed").first.click()
    assert page.locator("details[open]").count() == 1
    assert "alert(1)" in page.locator("details[open]").inner_text()
    # colours and words
    words = set(page.locator("td .state").all_inner_texts())
    assert words == {str(state) for state in State}
    colours = {
        page.locator(f"td .state.{name}").first.evaluate("e => getComputedStyle(e).color")
        for name in ("passed", "failed", "error")
    }
    assert len(colours) == 3
    assert page.locator(".bar").count() == 2
    assert page.locator("td", has_text="by identity").count() == 1
    assert (
        page.locator(".bar").first.get_attribute("aria-label")
        == "firmware 9 s, kernel 11 s, userspace 40 s, "
    )
    assert page.locator("img").first.evaluate("image => image.naturalWidth") == 1
    assert not said, said
    page.set_viewport_size({"width": 390, "height": 800})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, f"at a telephone's width the page is {width} pixels wide"
    page.close()


def test_one_junit_file_with_a_suite_per_artifact(tmp_path: Path, found: list[tuple[Cell, Path]]) -> None:
    write_junit(tmp_path / "junit.xml", found)
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == [
        "Debian-AtomicHost-12.1.x86_64.qcow2 uefi",
        "disk cloud #1 uefi",
    ]
    assert (root.get("failures"), root.get("errors"), root.get("skipped")) == ("4", "2", "6")
    failure = suites[0].find("testcase/failure")
    assert failure is not None
    assert "<script>alert(1)</script>" in (failure.get("message") or "")


def test_a_boot_that_was_started_again_says_so_on_the_page(tmp_path: Path) -> None:
    boots = [
        {
            "name": "first",
            "phases": {"firmware": 1.0, "ssh": 60.0},
            "problem": "",
            "note": "the first boot hung at <IP idents>",
        }
    ]
    (tmp_path / "boots.json").write_text(json.dumps(boots))
    write_page(tmp_path / "report.html", "x", [(cell("a", "artifact-boots", State.PASSED), tmp_path)])
    assert "first boot (the first boot hung at &lt;IP idents&gt;)" in (tmp_path / "report.html").read_text()
