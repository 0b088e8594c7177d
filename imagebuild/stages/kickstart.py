"""Write the kickstart of a variant: a readable template with its parts and the values of the release, proved by pykickstart."""

import re
from pathlib import Path

from imagebuild import files
from imagebuild.config import KickstartConfig, TreeConfig, shared_directory
from imagebuild.deploy import kickstart as language
from imagebuild.deploy import prescript
from imagebuild.deploy.kickstart import BadKickstartError
from imagebuild.model import Kickstart, Tree
from imagebuild.tools import vagrant_key

PLACEHOLDER = re.compile(r"\$\{([a-z_]+)\}")


def write_kickstart(out: Path, tree: Tree, template: KickstartConfig, source: TreeConfig, sources: str) -> Kickstart:
    """Write `out/kickstart.ks`. `sources` is the digest of the templates (`digest`): they are part of the key.

    Raises BadKickstartError with file and line.
    """
    del sources
    # fedora-kickstarts up to 29 installed from the nightly ref and set the origin to the stable one in %post (fedora-atomic-updates.ks)
    text = render(template, values(tree.follows, source) | template.values)
    check(text, template, tree.follows, source)
    file = out / "kickstart.ks"
    file.write_text(text)
    return Kickstart(file=file, syntax=template.syntax)


def check(text: str, template: KickstartConfig, ref: str, source: TreeConfig) -> None:
    """Parse a rendered kickstart with the pykickstart of its release, then check what pykickstart lets through."""
    handler = language.parse(prescript.without_includes(text), template.syntax, template.template)
    language.checks(handler, text, [ref], signed=not source.allow_unsigned, name=template.template)


def values(ref: str, source: TreeConfig) -> dict[str, str]:
    """Return what every template may use."""
    return {
        "osname": source.osname,
        "remote": source.remote,
        # a `#` would begin a comment there
        "url": files.url(files.path_of(source.url)) if source.url.startswith(files.FILE_URL) else source.url,
        "ref": ref,
        "nogpg": "--nogpg " if source.allow_unsigned else "",
        "update_url": source.update_url,
        "gpg_key_path": source.update_gpg_key,
        "vagrant_key": vagrant_key.PUBLIC,
    }


def render(template: KickstartConfig, known: dict[str, str]) -> str:
    """Return a template with every %include of ours expanded and every ${placeholder} replaced."""
    lines = []
    for name, number, line in _lines(template.template, ()):
        for found in PLACEHOLDER.findall(line):
            if found not in known:
                raise BadKickstartError(f"{name}:{number}: ${{{found}}} is no placeholder", hint=f"these are: {', '.join(sorted(known))}")
        lines.append(PLACEHOLDER.sub(lambda match: known[match.group(1)], line))
    return "\n".join(lines) + "\n"


def digest(template: KickstartConfig) -> str:
    """Return the text a template is made of, parts included: it goes into the key, so that an edited part counts."""
    return "\n".join(line for _, _, line in _lines(template.template, ()))


def _lines(name: str, above: tuple[str, ...]) -> list[tuple[str, int, str]]:
    directory = shared_directory("kickstarts").resolve()
    file = (directory / name).resolve()
    if not file.is_relative_to(directory) or not file.is_file():
        raise BadKickstartError(f"{above[-1] if above else 'the configuration'}: there is no kickstart template {name} in {directory}")
    if name in above:
        raise BadKickstartError(f"{name} includes itself")
    found: list[tuple[str, int, str]] = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        words = line.split()
        if words[:1] == ["%include"] and len(words) == 2 and not words[1].startswith(("/", "http")):
            found += _lines(words[1], (*above, name))
        else:
            found.append((name, number, line))
    return found
