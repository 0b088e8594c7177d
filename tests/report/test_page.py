"""The report, opened in a real browser: links, console, what a click, a key and a filter do, and whether a
telephone can show it.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Page

from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell
from imagebuild.report.columns import short_names
from imagebuild.report.groups import ORDER, group_of
from imagebuild.report.junit import write_junit
from imagebuild.report.page import write_page
from imagebuild.smoke.criteria import registry as criteria
from tests.browser import CONTRAST

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


@pytest.fixture
def report(tmp_path: Path, found: list[tuple[Cell, Path]]) -> Path:
    file = tmp_path / "report.html"
    write_page(file, "Debian Atomic Host 12: 12.1", found)
    return file


@pytest.fixture
def page(report: Path, browser: Browser) -> Iterator[Page]:
    """The report in a browser that must have nothing to say about it."""
    shown = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("requestfailed", lambda request: said.append(request.url))
    shown.goto(report.as_uri())
    yield shown
    shown.close()
    assert not said, said


def test_every_link_leads_somewhere(tmp_path: Path, page: Page) -> None:
    assert page.title() == "Debian Atomic Host 12: 12.1"
    links = [link.get_attribute("href") or "" for link in page.locator("a").all()]
    assert len(links) > 30
    for link in links:
        if link.startswith("#"):
            assert page.locator(f"[id='{link[1:]}']").count() == 1, link
        else:
            assert (tmp_path / unquote(urlsplit(link).path)).is_file(), link


def test_a_cell_opens_its_evidence(page: Page) -> None:
    details = page.locator("details", has_text="criterion-1").first
    assert not details.evaluate("element => element.open")
    page.locator("td a", has_text="failed").first.click()
    assert page.locator("details[open]").count() == 1
    assert "alert(1)" in page.locator("details[open]").inner_text()


def test_only_what_is_not_passed_carries_words(page: Page) -> None:
    words = {*page.locator("td.cell").all_inner_texts()}
    assert words == {"✓", "n/a", *(str(state) for state in State)} - {"passed", "not applicable"}
    labels = [cell.get_attribute("aria-label") or "" for cell in page.locator("td.cell > *").all()]
    assert {label.partition(":")[0] for label in labels} == {
        *(str(state) for state in State),
        "passed by identity",
    }
    assert page.get_by_role("link", name="passed by identity").count() == 1
    assert page.locator("td.none [aria-label='not run']").count() == 1
    colours = {
        page.locator(f"td.{name}").first.evaluate("e => getComputedStyle(e).color")
        for name in ("passed", "failed", "error")
    }
    assert len(colours) == 3


def test_boots_and_pictures(page: Page) -> None:
    assert page.locator(".bar").count() == 2
    said = page.locator(".bar").first.get_attribute("aria-label")
    assert said == "firmware 9 s, kernel 11 s, userspace 40 s, "
    assert page.locator("img").first.evaluate("image => image.naturalWidth") == 1


def test_columns_are_named_shortly_and_a_file_once(page: Page) -> None:
    assert page.locator("thead tr").nth(0).locator("th").all_inner_texts() == [
        "Criterion",
        "qcow2",
        "cloud #1 disk",
    ]
    assert page.locator("thead tr").nth(1).locator("th").all_inner_texts() == ["uefi", "uefi"]
    assert page.locator("body").inner_text().count("Debian-AtomicHost-12.1.x86_64.qcow2") == 1


@pytest.mark.parametrize("width", [1280, 360])
def test_headings_stay_in_sight(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 500})
    page.add_style_tag(content=".matrix td { padding: 2rem 25rem !important; }")
    place = "e => [Math.round(e.getBoundingClientRect().x), Math.round(e.getBoundingClientRect().y)]"
    table = page.locator(".tall")
    before = [page.locator(name).first.evaluate(place) for name in ("thead th", "tr.criterion th")]
    table.evaluate("e => e.scrollTo(300, 300)")
    assert table.evaluate("e => [e.scrollLeft, e.scrollTop]") == [300, 300]
    head, row = (page.locator(name).first.evaluate(place) for name in ("thead th", "tr.criterion th"))
    assert head == before[0]
    assert row == [before[1][0], before[1][1] - 300]


def test_a_filter_by_state_without_scripts(report: Path, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto(report.as_uri())
    rows, details = shown.locator("tr.criterion"), shown.locator("details")
    visible = rows.filter(visible=True)
    assert (visible.count(), details.filter(visible=True).count()) == (rows.count(), details.count())
    # with the keyboard: from `everything` to what did not pass, then on to the first state
    shown.get_by_label("everything").focus()
    shown.keyboard.press("ArrowDown")
    assert shown.get_by_label("what did not pass").is_checked()
    assert visible.all_inner_texts()
    assert "passed" not in {word for text in visible.all_inner_texts() for word in text.split()}
    assert visible.count() == len(State) - 2
    shown.get_by_label("2 failed").check()
    assert [text.split("\t")[0] for text in visible.all_inner_texts()] == ["criterion 1"]
    assert details.filter(visible=True).count() == 2
    assert shown.locator("tr.group").filter(visible=True).count() == 1
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_telephone(report: Path, browser: Browser, scheme: Literal["light", "dark"]) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 800}, color_scheme=scheme)
    shown = context.new_page()
    shown.goto(report.as_uri())
    width = shown.evaluate("document.documentElement.scrollWidth")
    assert width <= 360, f"at a telephone's width the page is {width} pixels wide"
    assert shown.evaluate(CONTRAST) == []
    context.close()


def test_every_criterion_is_about_something() -> None:
    required = criteria.required(atomic=True, installer=True)
    groups = {name: group_of(name) for name in required}
    assert set(groups.values()) == set(ORDER)
    assert groups["artifact-boots"] == "boots"
    assert groups["a-layered-package-survives-an-upgrade-by-atomic-host"] == "packages"
    assert groups["the-images-own-keys-verify-the-release"] == "upgrades"
    assert group_of("something-new") == "system"


def test_two_of_a_kind_are_told_apart() -> None:
    names = ["A-12.1.x86_64.qcow2", "B-x-12.1.x86_64.qcow2", "disk cloud", "A-12.1.x86_64.iso", "C-1.vdi"]
    assert list(short_names(names).values()) == ["A qcow2", "B-x qcow2", "cloud disk", "ISO", "C-1.vdi"]
    assert list(short_names(["A-1.qcow2", "A-2.qcow2"]).values()) == ["A-1.qcow2", "A-2.qcow2"]


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
