"""A small RPM package and a repository of it, made on the build host with rpmbuild(8) and createrepo_c(8)."""

from pathlib import Path

from imagebuild.tools import command

SPEC = """Name: {name}
Version: 1
Release: 1
Summary: A package that a test layers
License: MIT
BuildArch: noarch
%description
A package that a test layers.
%install
mkdir -p %{{buildroot}}/usr/bin
printf '#!/bin/sh\\necho layered\\n' > %{{buildroot}}/usr/bin/{name}
chmod 755 %{{buildroot}}/usr/bin/{name}
%files
/usr/bin/{name}
"""


def make_repository(directory: Path, name: str) -> None:
    """Make `directory` a repository with one package, which has one program of its own name. Raises MissingToolError, CommandError."""
    for program in ("rpmbuild", "createrepo_c"):
        command.require(program)
    directory.mkdir(parents=True)
    spec = directory / f"{name}.spec"
    spec.write_text(SPEC.format(name=name))
    top = directory / "build"
    command.run(
        ["rpmbuild", "-bb", "--define", f"_topdir {top}", "--define", f"_rpmdir {directory}", "--define", "_binary_payload w1.gzdio", spec]
    )
    # hosts of all ages read gzip
    command.run(["createrepo_c", "--quiet", "--general-compress-type=gz", directory])
