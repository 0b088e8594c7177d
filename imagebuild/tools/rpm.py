"""A small RPM package, another that it needs, and a repository of both, made on the build host with
rpmbuild(8) and createrepo_c(8).

The package has what real ones have and what takes the whole of a host's machinery to layer: scriptlets before
and after its files are there, a system user, a file in /etc, a dependency. Scriptlets are those that
rpm-ostree runs, in bubblewrap (coreos/rpm-ostree 2018.7, src/libpriv/rpmostree-scripts.c: %pre, %post and
%posttrans in a shell; no lua, no triggers): %pre makes the user as Fedora's packaging guidelines ("Users and
Groups") do, and rpm-ostree moves it from the scriptlet's /etc/passwd to /usr/lib/passwd
(rpmostree-passwd-util.c). Nothing is written into /var, which is not the tree's.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from imagebuild.tools import command, temporary

# a base of temporary directories (tools/temporary.py) whose path is plain wherever TMPDIR is
PLAIN = Path("/tmp")  # a directory of our own in it
# what is in the file in /etc, in the dependency's, and what %post leaves
IN_ETC, IN_DATA, BY_POST = "configured", "needed", "scriptlet ran"
SPEC = """Name: {name}
Version: 1
Release: 1
Summary: A package that a test layers
License: MIT
BuildArch: noarch
Requires: {data} = 1-1
%description
A package that a test layers.
%package -n {data}
Summary: What a package that a test layers needs
%description -n {data}
What a package that a test layers needs.
%install
mkdir -p %{{buildroot}}/usr/bin %{{buildroot}}/etc %{{buildroot}}{share}
printf '#!/bin/sh\\necho layered\\n' > %{{buildroot}}/usr/bin/{name}
chmod 755 %{{buildroot}}/usr/bin/{name}
echo '{in_etc}' > %{{buildroot}}{etc}
echo '{in_data}' > %{{buildroot}}{needed}
%pre
getent group {user} > /dev/null || groupadd -r {user} || exit 1
getent passwd {user} > /dev/null || \\
    useradd -r -M -g {user} -d / -s /sbin/nologin -c 'of a test' {user} || exit 1
%post
echo '{by_post}' > {mark}
%files
/usr/bin/{name}
%config(noreplace) {etc}
%files -n {data}
%dir {share}
{needed}
"""


@dataclass(frozen=True)
class Package:
    """A package and where it leaves what: `etc` is its file in /etc, `needed` that of its dependency `data`,
    `mark` what its %post writes.
    """

    name: str

    @property
    def user(self) -> str:
        """The system user, and group, that %pre makes. useradd(8): at most 32 characters."""
        return self.name

    @property
    def etc(self) -> str:
        """A file in /etc that says IN_ETC."""
        return f"/etc/{self.name}.conf"

    @property
    def data(self) -> str:
        """The name of the package that this one needs."""
        return f"{self.name}-data"

    @property
    def share(self) -> str:
        """The dependency's directory."""
        return f"/usr/share/{self.name}"

    @property
    def needed(self) -> str:
        """The dependency's file, which says IN_DATA."""
        return f"{self.share}/needed"

    @property
    def mark(self) -> str:
        """A file that only %post makes, which says BY_POST."""
        return f"{self.share}/post"


def make_repository(directory: Path, name: str) -> None:
    """Make `directory` a repository with the package `name`, whose program has the same name. Raises
    MissingToolError, CommandError.
    """
    for program in ("rpmbuild", "createrepo_c"):
        command.require(program)
    package = Package(name)
    # rpm writes its paths into shell scripts, and quotes none of them (rpm 4.18, build.cc): neither blanks
    # nor % may be in them
    with temporary.directory("rpm", base=PLAIN) as work:
        spec = work / f"{name}.spec"
        spec.write_text(
            SPEC.format(
                name=name,
                user=package.user,
                etc=package.etc,
                data=package.data,
                share=package.share,
                needed=package.needed,
                mark=package.mark,
                in_etc=IN_ETC,
                in_data=IN_DATA,
                by_post=BY_POST,
            )
        )
        where = [f"_topdir {work}/build", f"_rpmdir {work}/rpms", "_binary_payload w1.gzdio"]
        command.run(["rpmbuild", "-bb", *[word for each in where for word in ("--define", each)], spec])
        shutil.copytree(work / "rpms", directory)
    # hosts of all ages read gzip
    command.run(["createrepo_c", "--quiet", "--general-compress-type=gz", directory])
