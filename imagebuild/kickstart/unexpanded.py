"""What another program should have filled in: placeholders of Cobbler, Foreman, Ansible and their like that
were left in a command.

Nobody would see them: pykickstart takes `--hostname=$hostname` as the host's name. Script sections are not
looked at, `$` is the shell's there.
"""

import re
from collections.abc import Sequence

NAME = r"[A-Za-z_][A-Za-z0-9_.]*"
PLACEHOLDER = re.compile(
    "|".join(
        (
            r"\$\{[^}]*\}?|\$\([^)]*\)?",  # a shell's, Cheetah's (Cobbler), Genshi's
            rf"(?<!\w)\$!?{NAME}(?:\('?[^)]*\))?",
            r"\{\{.*?(?:\}\}|$)|\{%.*?(?:%\}|$)",  # Jinja (Ansible), Mustache, Go
            r"<%.*?(?:%>|$)|\[%.*?(?:%\]|$)",  # ERB (Foreman, Puppet), Mako, Template Toolkit
            # Terraform's directives; the end of one that has several lines
            r"%\{[^}]*\}?|^-?(?:%>|%\}|%\]|\}\})",
            rf"%\({NAME}\)[sdr]",  # Python
            rf"(?<![\w.@])@@?{NAME}@@?(?![\w.@])",  # autoconf, Cobbler's older ones
            r"(?<!\w)__[A-Z][A-Z0-9_]*__(?!\w)|(?<![\w%])%%?[A-Z][A-Z0-9_]*%%?(?!\w)",
        )
    )
)
# Cheetah's directives stand where kickstarts have comments (Cheetah users' guide, "Language Constructs")
DIRECTIVE = re.compile(
    r"\s*#\s*(?:end\s+(?:if|for|while|unless|raw|def|block)|raw)\s*|\s*#(?:if|elif|for|set|while|unless|echo|silent)\s.*\$.*",
    re.DOTALL,
)
# what the installer itself fills in: `_substituted` of reading.py; dnf's variables (Anaconda 45.21,
# dnf_manager.py, substitute)
OWN = {
    "ostreesetup": re.compile(r"\$\{basearch\}"),
    **dict.fromkeys(("url", "repo"), re.compile(r"\$(\{(basearch|releasever)\}|(basearch|releasever)\b)")),
}
SECRET_COMMANDS = frozenset({"rootpw", "sshpw"})
SECRET_OPTIONS = ("--password", "--passphrase", "--md5pass", "--gecos")


def placeholder(words: Sequence[str]) -> str:
    """Return the first placeholder in a command's words; empty when there is none. Passwords may have `$` in
    them, but not be placeholders.
    """
    secret, others = _split(words)
    for value in secret:
        match = PLACEHOLDER.match(value)
        if match and (match.end() == len(value) or value.startswith(("{{", "{%", "<%"))):
            return value
    text = " ".join(others)
    match = PLACEHOLDER.search(OWN[words[0]].sub("", text) if words[0] in OWN else text)
    return match.group() if match else ""


def directive(line: str) -> str:
    """Return a directive of Cheetah that looks like a comment; empty when the line is not such a one."""
    return line.strip() if DIRECTIVE.fullmatch(line) else ""


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words that are passwords, and the others."""
    secret: list[str] = []
    others: list[str] = []
    before = ""
    for word in words:
        option, equals, value = word.partition("=")
        if option in SECRET_OPTIONS and equals:
            secret.append(value)
        elif before in SECRET_OPTIONS or (
            words[0] in SECRET_COMMANDS and before and not word.startswith("--")
        ):
            secret.append(word)
        else:
            others.append(word)
        before = word
    # what blanks inside of a placeholder have split is one value
    return ([" ".join(secret)] if words[0] in SECRET_COMMANDS and secret else secret), others
