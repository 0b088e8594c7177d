"""os-release(5), as people write it: what a tree calls itself.

Values are read as systemd reads them (src/basic/env-file.c), which is more forgiving than a shell: quotes
count at the beginning of a value only, so an apostrophe in one is an apostrophe. Other than there a value
ends with its line, also when its quote does not.
"""

import re
import unicodedata

LINE_END = re.compile(r"\r\n|\r|\n")
ASSIGNMENT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)
# in double quotes a backslash quotes these, and stays before anything else; outside of quotes it quotes
# anything
QUOTED = re.compile(r'\\(["\\`$])')
ESCAPED = re.compile(r"\\(.)")
COMMENT = re.compile(r"(?:^|\s)#.*")
LONGEST = 200


def parse(data: bytes) -> dict[str, str]:
    """Return name -> value; of a name that is there twice, the last value. Whatever is not an assignment is
    left out.

    What is not UTF-8 becomes U+FFFD, and what cannot be printed a space: a value is one line.
    """
    lines = LINE_END.split(data.decode("utf-8-sig", "replace"))
    assignments = (ASSIGNMENT.fullmatch(line) for line in lines if not line.lstrip().startswith(("#", ";")))
    return {match[1]: _printable(_value(match[2].strip())) for match in assignments if match is not None}


def _value(text: str) -> str:
    parts = []
    while text:
        quote = text[0] if text[0] in "\"'" else ""
        if not quote:
            parts.append(ESCAPED.sub(r"\1", COMMENT.sub("", text)))
            break
        inside, text = _quoted(text[1:], quote)
        parts.append(inside)
        # what follows a quoted part after a space is not of the value: a comment, mostly
        if text[:1].isspace():
            break
    return "".join(parts)


def _quoted(text: str, quote: str) -> tuple[str, str]:
    """Return what is in the quotes, and what comes after them; of quotes that never end, all that there
    is.
    """
    match = re.match(r'((?:\\.|[^"\\])*)"' if quote == '"' else "([^']*)'", text)
    inside, rest = (match[1], text[match.end() :]) if match is not None else (text, "")
    return (QUOTED.sub(r"\1", inside) if quote == '"' else inside), rest


def _printable(value: str) -> str:
    shown = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in value)
    return " ".join(shown.split())[:LONGEST].strip()
