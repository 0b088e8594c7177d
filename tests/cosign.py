"""cosign of Debian forky, which runs on Debian 12: fetched once by apt, whose own keys check it, into
the cache. Nothing is installed.
"""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from imagebuild.config.places import cache_directory
from imagebuild.tools import temporary

SUITE, PACKAGE = "forky", "cosign"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TARGETS = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]


def mirror() -> str:
    """Return the mirror that this machine uses already."""
    said = subprocess.run(TARGETS, capture_output=True, text=True, check=False).stdout.split()
    return next((uri for uri in said if uri.rstrip("/").endswith("/debian")), "http://deb.debian.org/debian/")


def fetch(place: Path) -> None:
    """Unpack the package below a directory; apt works in directories of its own."""
    with temporary.open_to_all("apt") as work:
        for name in ("lists/partial", "archives/partial", "etc"):
            (work / name).mkdir(parents=True)
        sources = work / "etc" / "forky.sources"
        sources.write_text(
            f"Types: deb\nURIs: {mirror()}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n"
        )
        (work / "status").touch()
        options = {
            "Dir::Etc::SourceList": sources, "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null", "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Lists": work / "lists", "Dir::State::status": work / "status",
            "Dir::Cache": work, "Dir::Cache::Archives": work / "archives",
            # a mirror that is frozen on purpose has lists that have expired
            "Acquire::Check-Valid-Until": "false", "Acquire::Languages": "none",
            "APT::Update::Error-Mode": "any",
        }  # fmt: skip
        apt = [
            "apt-get",
            "-qq",
            *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
        ]
        subprocess.run([*apt, "update"], check=True)
        subprocess.run([*apt, "download", PACKAGE], check=True, cwd=work)
        (package,) = work.glob(f"{PACKAGE}_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, place], check=True)


@pytest.fixture(scope="session")
def cosign() -> Path:
    """The program; fetched by whoever comes first."""
    place = cache_directory() / "cosign"
    place.mkdir(parents=True, exist_ok=True)
    program = place / "root" / "usr" / "bin" / PACKAGE
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            partial = place / f"partial-{os.getpid()}"
            fetch(partial)
            partial.rename(place / "root")
    return program
