"""Whether the host's /usr is the commit's: names, modes and owners, and content by checksum."""

import re
import secrets
from dataclasses import dataclass

from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.host.roots import REPO, Roots

# of an emulated host: directories whose entries are compared, and files that are read; all of any other
DIRECTORIES, FILES = 80, 150
# how slow a host may be that is compared as a whole: with KVM it is as quick as its builder, or nearly so
QUICK = 3.0
# native seconds for all of a tree of a few gigabytes, read from a disk that may be slow
WHOLE_SECONDS = 300.0
# A file's checksum is that of its header and its content (ostree-core.c, ostree_checksum_file_from_input and
# _ostree_file_header_new: the GVariant (uuuusa(ayay)) of uid, gid, mode, rdev, a link's target and xattrs,
# numbers big-endian, its size before it; how that is serialized: "GVariant Specification", 2.5).
# `ostree ls -C` prints kind and mode, uid, gid, size, the checksum (a directory has two) and the path.
COMPARE = r"""
import hashlib, os, random, re, stat, struct, subprocess, sys
repo, commit, seed, directories, files = *sys.argv[1:4], *map(int, sys.argv[4:6])
root = os.fsencode(sys.argv[6])
LINE = re.compile(rb"([-dl])([0-7]{5}) (\d+) (\d+) +(\d+) ([0-9a-f]{64})(?: [0-9a-f]{64})? (/usr(?:/.*)?)")
ALWAYS = [os.fsencode("/usr" + each) for each in
          ("", "/bin", "/sbin", "/lib/systemd/system", "/lib/tmpfiles.d", "/lib/sysusers.d", "/lib/udev/rules.d")]
MOST, shown, chance = 50 << 20, 0, random.Random(seed)
def differs(path, what):
    global shown
    shown += 1
    if shown <= 20:
        print(ascii(os.fsdecode(path))[1:-1][:300], what, sep="\t")
def framed(parts, fixed=0):
    body, ends = b"".join(parts), b""
    at = [sum(map(len, parts[: n + 1])) for n in range(fixed, len(parts))]
    for width in (1, 2, 4):
        if len(body) + width * len(at) < 1 << (8 * width):
            return body + b"".join(end.to_bytes(width, "little") for end in at)
def pair(path, name):
    value = os.getxattr(path, name, follow_symlinks=False)
    first = os.fsencode(name) + b"\0"
    return first + value + framed_end(len(first), len(first) + len(value))
def framed_end(end, length):
    width = next(width for width in (1, 2, 4) if length + width < 1 << (8 * width))
    return end.to_bytes(width, "little")
def checksum(path, status, target):
    numbers = struct.pack(">IIII", status.st_uid, status.st_gid, status.st_mode, 0) + target + b"\0"
    xattrs = framed([pair(path, name) for name in sorted(os.listxattr(path, follow_symlinks=False))])
    header = numbers + xattrs
    header += framed_end(len(numbers), len(header))
    digest = hashlib.sha256(struct.pack(">II", len(header), 0) + header)
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest().encode()
there = [place[len(root):] for place, _, _ in os.walk(root + b"/usr")]
if directories and len(there) > directories:
    there = sorted({each for each in ALWAYS if each in there}
                   | set(chance.sample(sorted(there), directories)))
listed, names = {}, {}
for begin in range(0, len(there), 200):
    part = there[begin : begin + 200]
    asked = ["ostree", "--repo=" + repo, "ls", "-C", commit, *part]
    answer = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if answer.returncode:
        for place in part:
            one = subprocess.run([*asked[:5], place], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            answer.stdout += one.stdout
            if one.returncode:
                differs(place, "is not in the commit")
    for line in answer.stdout.splitlines():
        match = LINE.fullmatch(line)
        if match:
            kind, mode, uid, gid, size, digest, path = match.groups()
            path, _, target = path.partition(b" -> ") if kind == b"l" else (path, b"", b"")
            listed[path] = kind, int(mode, 8), int(uid), int(gid), int(size), digest, target
            names.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))
for place in there:
    if place in listed:
        here, wanted = set(os.listdir(root + place)), names.get(place, set())
        for name in sorted(here - wanted):
            differs(place + b"/" + name, "is not in the commit")
        for name in sorted(wanted - here):
            differs(place + b"/" + name, "is missing")
KINDS, same = {b"-": stat.S_IFREG, b"d": stat.S_IFDIR, b"l": stat.S_IFLNK}, []
for path, (kind, mode, uid, gid, size, digest, target) in sorted(listed.items()):
    try:
        status = os.lstat(root + path)
    except OSError:
        continue
    if stat.S_IFMT(status.st_mode) != KINDS[kind]:
        differs(path, "is of another kind")
    elif (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) != (mode, uid, gid) and kind != b"l":
        differs(path, "has another mode or owner: %o %d:%d" % (status.st_mode & 0o7777, status.st_uid, status.st_gid))
    elif kind == b"l" and os.readlink(root + path) != target or kind == b"-" and status.st_size != size:
        differs(path, "has other content")
    elif kind != b"d":
        same.append((path, status, digest, target))
chance.shuffle(same)
read = total = 0
for path, status, digest, target in same:
    if files and (read >= files or total + status.st_size > MOST):
        continue
    read, total = read + 1, total + status.st_size
    if checksum(root + path, status, target) != digest:
        differs(path, "has other content")
print("compared %d names and %d contents, %d differ" % (len(listed), read, shown))
"""  # noqa: E501  # a program of its own
SUMMARY = re.compile(r"compared (\d{1,9}) names and (\d{1,9}) contents, (\d{1,9}) differ")
MOST_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How /usr was compared with a commit: how many names and contents, and what differs (the first 20):
    path and how. `seed` chose the sample (empty: all was compared).
    """

    names: int
    contents: int
    differences: tuple[str, ...]
    seed: str


class Contents(Roots):
    """The content of /usr."""

    def compare_with(self, commit: str) -> Comparison:
        """Compare /usr with a commit: all of it on a host that is quick, a sample of it under emulation.
        Raises NotTestedError for a host without python3.
        """
        emulated = self.slowness > QUICK
        seed = secrets.token_hex(4)
        counts = (DIRECTORIES, FILES) if emulated else (0, 0)
        asked = ("python3", "-", REPO, commit, seed, *map(str, counts), "")
        answer = self.run(*asked, stdin=COMPARE.encode(), seconds=WHOLE_SECONDS)
        if answer.status == 127:
            raise NotTestedError("the host has no python3, which compares its /usr with the commit")
        assert answer.status == 0, (
            f"/usr cannot be compared with the commit: {answer.complaint.strip()[-300:]}"
        )
        *lines, last = answer.output.strip().splitlines() or [""]
        summary = SUMMARY.fullmatch(last)
        assert summary is not None, f"/usr was not compared to its end: {last[:200]!r}"
        differences = tuple(line.replace("\t", " ")[:400] for line in lines[:MOST_SHOWN])
        assert bool(differences) == bool(int(summary[3])), f"{last}, but these are named: {differences}"
        return Comparison(
            names=int(summary[1]),
            contents=int(summary[2]),
            differences=differences,
            seed=seed if emulated else "",
        )
