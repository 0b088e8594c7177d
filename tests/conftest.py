"""Options and fixtures of all tests."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from imagebuild.tools import command

# fixtures that several rooms share
from tests.evil_names import origin
from tests.installers.lorax.lab import tree
from tests.tools.ostree.commits import commit_keys, source


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let golden files be written anew."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files instead of comparing with them"
    )


def pytest_configure() -> None:
    """Let the programs that tests start hear SIGINT: a shell without job control, as many a CI has it, starts
    `command &` with it ignored.

    What is ignored stays so in every child (signal(7)), and the test that interrupts one would wait for ever;
    a handler does not.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def homedir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GnuPG home directory in which release keys are made once."""
    return tmp_path_factory.mktemp("release-keys")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; as root there is no sandbox, and containers have little shared memory: the pages are
    ours.

    Not for the whole session: while it is open, Playwright's event loop counts as running, and QEMU's monitor
    could not be asked.
    """
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(command.require("chromium")), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()
