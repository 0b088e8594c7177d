"""Write the kickstart of a variant: a readable template with its parts and the values of the release, proved
by pykickstart.

Placeholders are `${name}`, of the names that are ours (`values`, and `kickstarts.*.values`). In a script
section every other one is the shell's, and so is one of ours that the script itself has set before;
`$${name}` is always the shell's `${name}`.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild import files
from imagebuild.architectures.registry import DEFAULT, guest_of
from imagebuild.config.images import KickstartConfig
from imagebuild.config.places import shared_directory
from imagebuild.config.tree import TreeConfig
from imagebuild.deploy import prescript
from imagebuild.deploy.prescript import Expanded
from imagebuild.kickstart import source as language
from imagebuild.kickstart.problems import Problems, located
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.model import Kickstart, Tree
from imagebuild.tools import vagrant_key

PLACEHOLDER = re.compile(r"(\$?)\$\{([a-z_]+)\}")
# bash(1): assignments, compound commands, builtins, and the expansion that assigns (a name behind `$` or in a
# path is only used)
SETS = (
    r"(?m)(?:^|[\s;&|(`{])NAME\+?=|\b(?:for|select)\s+NAME\s+in\b|\bprintf\s+-v\s+NAME\b|\$\{NAME:?="
    r"|\b(?:read|mapfile|readarray|getopts)\s[^;&|\n]*(?<![\w${/.-])NAME(?![\w/.=-])"
)


@dataclass(frozen=True, kw_only=True)
class TemplateLine:
    """A line of a template or of a part of it: `file` below kickstarts/, its number there."""

    file: str
    number: int
    text: str


def write_kickstart(
    out: Path, tree: Tree, template: KickstartConfig, source: TreeConfig, sources: str
) -> Kickstart:
    """Write `out/kickstart.ks`. `sources` is the digest of the templates (`digest`): they are part of the
    key.

    Raises BadKickstartError with file and line.
    """
    del sources
    # fedora-kickstarts up to 29 installed from the nightly ref and set the origin to the stable one in %post
    # (fedora-atomic-updates.ks)
    filled = fill_in(template, values(tree.follows, source, tree.arch) | template.values)
    check(filled, template, tree.follows, source)
    file = out / "kickstart.ks"
    file.write_text(filled.text)
    return Kickstart(
        file=file, syntax=template.syntax, signed=not source.allow_unsigned, origin=filled.origin
    )


def check(filled: Expanded, template: KickstartConfig, ref: str, source: TreeConfig) -> None:
    """Parse a rendered kickstart with the pykickstart of its release, then check what pykickstart lets
    through.
    """
    name, text = template.template, filled.text
    with located(name, filled.origin):
        reading = language.read(prescript.without_includes(text), template.syntax, name)
        problems = Problems(name)
        problems.extend(reading.problems)
        with problems.gathering():
            # an %include that is left is of what a %pre writes, and refused where there is none
            language.checks(reading, text, [ref], signed=not source.allow_unsigned, name=name)
        problems.refuse()


def values(ref: str, source: TreeConfig, arch: str = DEFAULT) -> dict[str, str]:
    """Return what every template may use. `basearch` is Fedora's own (fedora-kickstarts, fedora-atomic.ks:
    --ref=…/${basearch}/…).
    """
    return {
        "osname": source.osname,
        "remote": source.remote,
        # a `#` would begin a comment there
        "url": files.url(files.path_of(source.url)) if source.url.startswith(files.FILE_URL) else source.url,
        "ref": ref,
        "basearch": arch,
        # where nothing is built for the architecture, nothing is said either
        "console": guest_of(arch).console,
        "nogpg": "--nogpg " if source.allow_unsigned else "",
        "update_url": source.update_url,
        "gpg_key_path": source.update_gpg_key,
        "vagrant_key": vagrant_key.PUBLIC,
    }


def render(template: KickstartConfig, known: dict[str, str]) -> str:
    """Return a template with every %include of ours expanded and every ${placeholder} of ours replaced.
    Raises BadKickstartError.
    """
    return fill_in(template, known).text


def fill_in(template: KickstartConfig, known: Mapping[str, str]) -> Expanded:
    """Do as `render`, and tell where each line comes from."""
    lines = _lines(template.template, ())
    problems = Problems(template.template)
    texts: list[tuple[TemplateLine, str]] = []
    wrong: set[int] = set()
    for inside, group in _sections(lines):
        own = _set_by_script(group, known) if inside else {}
        for index, line in enumerate(group):
            if (
                not inside
                and not line.text.lstrip().startswith("#")
                and _refuse_unknown(line, known, problems)
            ):
                wrong.add(len(texts))
            texts.append((line, _filled(line.text, index, known, own)))
    if wrong:
        rest = _joined(
            [(line, _without(text) if number in wrong else text) for number, (line, text) in enumerate(texts)]
        )
        with problems.gathering(), located(template.template, rest.origin):
            language.parse(prescript.without_includes(rest.text), template.syntax, template.template)
    problems.refuse()
    return _joined(texts)


def _joined(texts: Sequence[tuple[TemplateLine, str]]) -> Expanded:
    return Expanded(
        text="\n".join(text for _, text in texts) + "\n",
        origin=tuple((line.file, line.number) for line, text in texts for _ in range(text.count("\n") + 1)),
    )


def _without(text: str) -> str:
    """Return a line whose placeholder was refused so that the others can be read: nothing, or the begin of a
    section.
    """
    return text.split(maxsplit=1)[0] if text.lstrip().startswith("%") else ""


def _filled(text: str, index: int, known: Mapping[str, str], own: Mapping[str, tuple[int, int]]) -> str:
    """Return a line with its placeholders replaced; `own`: where (line, column) the script sets a variable of
    that name.
    """

    def value(match: re.Match[str]) -> str:
        escape, name = match.groups()
        if name not in known or (name in own and (index, match.start()) > own[name]):
            return match.group()
        return f"${{{name}}}" if escape else known[name]

    return PLACEHOLDER.sub(value, text)


def _refuse_unknown(line: TemplateLine, known: Mapping[str, str], problems: Problems) -> bool:
    unknown = [name for _, name in PLACEHOLDER.findall(line.text) if name not in known]
    for name in unknown:
        with problems.gathering():
            raise BadKickstartError(
                f"{line.file}:{line.number}: ${{{name}}} is not a placeholder",
                hint=f"these are: {', '.join(sorted(known))}",
            )
    return bool(unknown)


def _sections(lines: list[TemplateLine]) -> Iterator[tuple[bool, list[TemplateLine]]]:
    """Yield (whether it is the body of a section, lines). A section ends with %end, as everywhere since
    Fedora 8.
    """
    group: list[TemplateLine] = []
    inside = False
    for line in lines:
        word = next(iter(line.text.split()), "")
        if inside and word == "%end":
            yield True, group
            group, inside = [line], False
            continue
        group.append(line)
        if not inside and word.startswith("%") and word not in ("%include", "%ksappend", "%end"):
            yield False, group
            group, inside = [], True
    yield inside, group


def _set_by_script(group: list[TemplateLine], known: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Return the variables named like placeholders that a script sets, and where it does first.

    One that is set to the placeholder of its own name (`url=${url}`) holds our value, so that it does not
    matter whose it is.
    """
    text = "\n".join("" if line.text.lstrip().startswith("#") else line.text for line in group)
    own: dict[str, tuple[int, int]] = {}
    for name in known:
        if re.search(rf"""(?<![\w$.-]){name}=["']?\$\{{{name}\}}""", text):
            continue
        match = re.search(SETS.replace("NAME", name), text)
        if match:
            own[name] = (
                text.count("\n", 0, match.end()),
                match.end() - (text.rfind("\n", 0, match.end()) + 1) - 1,
            )
    return own


def digest(template: KickstartConfig) -> str:
    """Return the text a template is made of, parts included: it goes into the key, so that an edited part
    counts.
    """
    return "\n".join(line.text for line in _lines(template.template, ()))


def _lines(name: str, above: tuple[str, ...]) -> list[TemplateLine]:
    directory = shared_directory("kickstarts").resolve()
    file = (directory / name).resolve()
    if not file.is_relative_to(directory) or not file.is_file():
        raise BadKickstartError(
            f"{above[-1] if above else 'the configuration'}: there is no kickstart template {name} in"
            f" {directory}"
        )
    if name in above:
        raise BadKickstartError(f"{name} includes itself")
    found: list[TemplateLine] = []
    for number, line in enumerate(_read(file, name).splitlines(), start=1):
        part = _part(line)
        if part:
            found += _lines(part, (*above, name))
        else:
            found.append(TemplateLine(file=name, number=number, text=line))
    return found


def _read(file: Path, name: str) -> str:
    try:
        return language.without_mark(file.read_text())
    except UnicodeDecodeError as error:
        raise BadKickstartError(
            f"{name} is not text in UTF-8: {error.reason}", hint="save it as UTF-8"
        ) from error


def _part(line: str) -> str:
    """Return the template that a line includes; empty when it does not, or includes what lies elsewhere."""
    try:
        words = shlex.split(line, comments=True) if line.lstrip().startswith("%include") else []
    except ValueError:
        return ""
    ours = (
        words[:1] == ["%include"]
        and len(words) == 2
        and not words[1].startswith("/")
        and "://" not in words[1]
    )
    return words[1] if ours else ""
