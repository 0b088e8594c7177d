"""What a host under test finds at the test's server: its ref, pointing at one release after the other, and a
container registry.

Releases that do not exist yet are made from the candidate: a next one (signed by the test's key), one that
nobody signed, an older one. The server speaks at an address that only the guest has (`SERVICES`): the
guest stays cut off from every network.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.host.expected import ContainerRegistry
from imagebuild.smoke.served import PACKAGE, Earlier, ServedRelease
from imagebuild.tools import gpg, oci, rpm, web
from imagebuild.tools.ostree import deltas, history, succession
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.qemu.machine import SERVICES

SIGNER = "imagebuild test <imagebuild-test@localhost>"
REGISTRY_PORT, WEB_PORT = 5000, 80
# systemd.unit(5), "Wants=", in a drop-in of a target that every boot passes early
RESTLESS = {
    "/usr/lib/systemd/system/imagebuild-restless.service": (
        b"[Unit]\nDefaultDependencies=no\n"
        b"[Service]\nType=oneshot\nExecStart=/usr/bin/systemctl reboot --force\n"
    ),
    "/usr/lib/systemd/system/sysinit.target.d/imagebuild-restless.conf": (
        b"[Unit]\nWants=imagebuild-restless.service\n"
    ),
}
INIT = "/usr/lib/systemd/systemd"
GREETING = b"hello from the builder\n"
DELTAS = "/repo/deltas/"
NOTHING_EARLIER = Earlier()


class Releases:
    """The repository of the test's server: the candidate's own, and a small one beside it with what only the
    test needs.
    """

    url = f"http://{SERVICES}/repo"

    def __init__(
        self,
        work: Path,
        repo: Path,
        ref: str,
        candidate: ServedRelease,
        previous: ServedRelease | None,
        earlier: Earlier = NOTHING_EARLIER,
    ) -> None:
        self.candidate, self.previous, self.earlier = candidate, previous, earlier
        # what was served from below `deltas`: a client reads a delta, or fetches object by object
        self.deltas_read: list[str] = []
        self.parent, self._ref = repo, ref
        self._repo = succession.beside(work / "repo", repo)
        # nothing is served of it but objects, as they are
        if Repo(repo).mode != "archive":
            raise NotTestedError(
                f"{repo} is not an archive repository: its objects cannot be served to a host"
            )
        if not self._repo.has(candidate.commit):
            raise NotTestedError(
                f"no repository has the commit {candidate.commit}: no release can be made to upgrade to"
            )
        self._homedir = work / "gnupg"
        with gpg.keyring(self._homedir) as homedir:
            self._fingerprint = gpg.ensure_key(homedir, SIGNER)
            gpg.export_key(homedir, self._fingerprint, work / "test-key.asc")
        self.key = (work / "test-key.asc").read_text()

    def publish(self, release: ServedRelease, *, coming_from: ServedRelease | None = None) -> None:
        """Let its ref point at a release. To hosts `coming_from` another one the static delta from there is
        offered, where there is one: then there is a summary, by which clients find it.
        """
        self._repo.set_ref(release.ref or self._ref, release.commit)
        summary = self._repo.path / "summary"
        summary.unlink(missing_ok=True)
        delta = self.earlier.deltas.get(coming_from.commit) if coming_from is not None else None
        self.deltas_read.clear()
        if delta is not None:
            deltas.put(self._repo, delta)
            self._repo.update_summary()

    @functools.cached_property
    def line(self) -> ServedRelease | None:
        """The last of the release line before, signed by the test's key, too: this line's keys need not be
        that line's; None when there is none.
        """
        line = self.earlier.line
        if line is not None:
            with gpg.keyring(self._homedir) as homedir:
                self._repo.sign(line.commit, self._fingerprint, homedir)
        return line

    @functools.cached_property
    def next(self) -> ServedRelease:
        """The release after the candidate, with an initramfs of its own: an upgrade has a second kernel to
        write and to boot.
        """
        return self._make("next", parent=self.candidate.commit, marked=True)

    @functools.cached_property
    def same_kernel(self) -> ServedRelease:
        """A release after the candidate with the very kernel and initramfs of the candidate."""
        return self._make("soft", parent=self.candidate.commit)

    @functools.cached_property
    def unsigned(self) -> ServedRelease:
        """A release after the candidate that nobody signed."""
        return self._make("unsigned", parent=self.candidate.commit, signed=False)

    @functools.cached_property
    def restless(self) -> ServedRelease:
        """A release after the candidate that reboots itself as soon as it can, again and again."""
        return self._make("restless", parent=self.candidate.commit, added=RESTLESS)

    @functools.cached_property
    def lifeless(self) -> ServedRelease:
        """A release after the candidate without a first program."""
        return self._make("lifeless", parent=self.candidate.commit, removed=(INIT,))

    @functools.cached_property
    def older(self) -> ServedRelease:
        """The release before the candidate: the real one where there is one, otherwise one made of the
        candidate.
        """
        return self.previous or self._make("older", parent=None, age=-1, marked=True)

    @functools.cached_property
    def lost(self) -> str | None:
        """Why hosts that follow the ref do not find the release before, by version or checksum; None when
        they do, or when there is none.
        """
        if self.previous is None:
            return None
        return history.lost(self._repo, self.candidate.commit, self.previous.commit)

    @functools.cached_property
    def after_older(self) -> ServedRelease:
        """A release in whose history the older one is: hosts find old versions by walking back from where the
        ref points.

        That is the candidate itself, as it is published, where there is a real release before it. Only for
        what else is to be learnt when that one is lost, or where there never was one, it is a release made
        for the test.
        """
        if self.previous is not None and self.lost is None:
            return self.candidate
        return self._make("later", parent=self.older.commit)

    def _make(
        self, name: str, *, parent: str | None, age: int = 1, signed: bool = True, marked: bool = False,
        added: Mapping[str, bytes] | None = None, removed: Sequence[str] = (),
    ) -> ServedRelease:  # fmt: skip
        version, candidate = f"{self.candidate.version}.{name}", self.candidate.commit
        timestamp = self._repo.timestamp(candidate) + age
        commit, has_mark = succession.relative(
            self._repo,
            candidate,
            version=version,
            parent=parent,
            timestamp=timestamp,
            mark=name if marked else "",
            ref=self._ref,
            added=added,
            removed=removed,
        )
        if signed:
            with gpg.keyring(self._homedir) as homedir:
                self._repo.sign(commit, self._fingerprint, homedir)
        return ServedRelease(commit=commit, version=version, initramfs=name if has_mark else "")


@dataclass(frozen=True, kw_only=True)
class Offers:
    """What the server offers: `ports` are for the guest's machine; `releases` is None, with the reason, when
    there are none; `registry` is None when there is no program for its containers.
    """

    ports: dict[int, int]
    registry: ContainerRegistry | None
    releases: Releases | None
    why_no_releases: str | None = None

    @property
    def web(self) -> str:
        """A page that says GREETING."""
        return f"http://{SERVICES}/hello"


@contextlib.contextmanager
def offering(
    work: Path,
    make_releases: Callable[[Path], Releases],
    find_busybox: Callable[[], oci.Busybox | None] = oci.own_busybox,
) -> Iterator[Offers]:
    """Serve until the block ends: releases, and a container image of a busybox that guests can run (None:
    none). Raises BuildError when the certificate cannot be made, MissingToolError.
    """
    busybox = find_busybox()
    images = oci.registry(busybox) if busybox is not None else {}
    certificate, authority = web.make_certificate(work, SERVICES)
    releases, why = None, None
    try:
        releases = make_releases(work)
    except (NotTestedError, BuildError) as error:
        why = getattr(error, "message", "") or str(error)
    places = {"/rpms/": [work / "rpms"]}
    if releases is not None:
        # a summary of the parent would hide the refs that the test sets
        places |= {
            "/repo/objects/": [work / "repo" / "objects", releases.parent / "objects"],
            "/repo/": [work / "repo"],
        }
    files = web.directories(places)

    def look(path: str) -> web.Found | None:
        if path == "/hello":
            return "text/plain", GREETING
        found = files(path)
        # without a summary clients ask for deltas that are not there (seen with libostree 2022.7)
        if found is not None and releases is not None and path.startswith(DELTAS):
            releases.deltas_read.append(path.removeprefix(DELTAS))
        return found

    with (
        web.serving(look) as plain,
        web.serving(images.get, certificate) as tls,
    ):
        address = f"{SERVICES}:{REGISTRY_PORT}"
        registry = ContainerRegistry(address=address, authority=authority) if images else None
        yield Offers(
            ports={WEB_PORT: plain, REGISTRY_PORT: tls},
            registry=registry,
            releases=releases,
            why_no_releases=why,
        )


def make_packages(work: Path) -> str:
    """Make a repository with one small package for layering and what it needs; return its URL for the guest.
    Raises BuildError.
    """
    rpm.make_repository(work / "rpms", PACKAGE)
    return f"http://{SERVICES}/rpms/"
