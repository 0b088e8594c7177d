"""GRUB's words: quotes, escapes, variables, each with its place in the text (grub-core/script/yylex.l of GRUB
2.06).
"""

from dataclasses import dataclass
from enum import StrEnum

BLANKS, ENDS = " \t", "\n;"
OPERATORS = ("||", "&&", ";;", "{", "}", "\n", ";", "|", "&", "<", ">")
SPECIAL = "?#*@"


class Kind(StrEnum):
    """How a piece of a word is meant."""

    TEXT = "text"
    QUOTED = "quoted"
    VARIABLE = "variable"
    QUOTED_VARIABLE = "quoted variable"


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word and where it is: `pieces` are joined once variables have their values."""

    pieces: tuple[tuple[Kind, str], ...]
    start: int
    end: int

    @property
    def text(self) -> str:
        """The word when it has no variable in it; otherwise what cannot be a word that is looked for."""
        if any(kind in (Kind.VARIABLE, Kind.QUOTED_VARIABLE) for kind, _ in self.pieces):
            return "$"
        return "".join(text for _, text in self.pieces)


class GrubSyntaxError(Exception):
    """GRUB could not parse a text, from a position on."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position


class Words:
    """A text that is taken word by word."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def skip_blanks(self) -> None:
        """Go on to the next word or operator: blanks, comments and lines that go on are passed."""
        while self.position < len(self.text):
            if self.text[self.position] in BLANKS + "\r":
                self.position += 1
            elif self.text.startswith("\\\n", self.position):
                self.position += 2
            elif self.text[self.position] == "#":
                newline = self.text.find("\n", self.position)
                self.position = len(self.text) if newline < 0 else newline
            else:
                return

    def skip_ends(self) -> None:
        """Go on to the next statement."""
        self.skip_blanks()
        while self.position < len(self.text) and self.text[self.position] in ENDS:
            self.position += 1
            self.skip_blanks()

    def operator(self) -> str:
        """Return the operator that comes next; empty for a word, a newline for the end of the file."""
        self.skip_blanks()
        if self.position >= len(self.text):
            return "\n"
        return next((operator for operator in OPERATORS if self.text.startswith(operator, self.position)), "")

    def peek(self) -> str:
        """Return the word that comes next, without taking it; empty when none comes."""
        if self.operator():
            return ""
        before = self.position
        word = self.word()
        self.position = before
        return word.text if word.pieces and word.pieces[0][0] is Kind.TEXT and len(word.pieces) == 1 else "$"

    def expect(self, wanted: str) -> None:
        """Take a reserved word or a brace. Raises GrubSyntaxError when something else comes."""
        if wanted == "{" and self.operator() == "{":
            self.position += 1
        elif wanted == "{" or self.peek() != wanted:
            raise GrubSyntaxError(self.position)
        else:
            self.word()

    def word(self) -> Word:
        """Take the next word. Raises GrubSyntaxError when none comes."""
        self.skip_blanks()
        start, pieces = self.position, list[tuple[Kind, str]]()
        while self.position < len(self.text):
            character = self.text[self.position]
            if (
                character in BLANKS
                or any(self.text.startswith(operator, self.position) for operator in OPERATORS)
                or character == "\r"
            ):
                break
            pieces += self._piece(character)
        if not pieces:
            raise GrubSyntaxError(start)
        return Word(pieces=_joined(pieces), start=start, end=self.position)

    def _piece(self, character: str) -> list[tuple[Kind, str]]:
        if character == "'":
            return [(Kind.QUOTED, self._until_quote(self.position + 1))]
        if character == '"' or self.text.startswith('$"', self.position):
            self.position += 1 if character == '"' else 2
            return self._double_quoted()
        if character == "$":
            return [(Kind.VARIABLE, self._variable())]
        if character == "\\":
            return self._escaped()
        self.position += 1
        return [(Kind.TEXT, character)]

    def _escaped(self) -> list[tuple[Kind, str]]:
        following = self.text[self.position + 1 : self.position + 2]
        self.position += 2
        if following == "\n":
            return []
        # rhboot's GRUB leaves \x20 alone, for labels with blanks (execute.c: wildcard_unescape)
        digits = self.text[self.position : self.position + 2]
        if (
            following == "x"
            and len(digits) == 2
            and all(digit in "0123456789abcdefABCDEF" for digit in digits)
        ):
            self.position += 2
            return [(Kind.TEXT, f"\\x{digits}")]
        return [(Kind.QUOTED, following)]

    def _until_quote(self, start: int) -> str:
        end = self.text.find("'", start)
        if end < 0:
            raise GrubSyntaxError(start)
        self.position = end + 1
        return self.text[start:end]

    def _double_quoted(self) -> list[tuple[Kind, str]]:
        pieces: list[tuple[Kind, str]] = [(Kind.QUOTED, "")]
        begun = self.position
        while self.position < len(self.text):
            character = self.text[self.position]
            if character == '"':
                self.position += 1
                return pieces
            if character == "$":
                pieces.append((Kind.QUOTED_VARIABLE, self._variable()))
            elif character == "\\" and self.text[self.position + 1 : self.position + 2] in (
                "$",
                "\\",
                '"',
                "\n",
            ):
                following = self.text[self.position + 1]
                pieces.append((Kind.QUOTED, "" if following == "\n" else following))
                self.position += 2
            else:
                pieces.append((Kind.QUOTED, character))
                self.position += 1
        raise GrubSyntaxError(begun)

    def _variable(self) -> str:
        start = self.position + 1
        braced = self.text.startswith("{", start)
        at = start + braced
        end = at
        if self.text[at : at + 1] and self.text[at] in SPECIAL:
            end += 1
        else:
            while end < len(self.text) and (self.text[end].isalnum() or self.text[end] == "_"):
                end += 1
        if end == at or (braced and not self.text.startswith("}", end)):
            raise GrubSyntaxError(self.position)
        self.position = end + braced
        return self.text[at:end]


def _joined(pieces: list[tuple[Kind, str]]) -> tuple[tuple[Kind, str], ...]:
    parts: list[tuple[Kind, str]] = []
    for kind, text in pieces:
        if parts and parts[-1][0] is kind and kind in (Kind.TEXT, Kind.QUOTED):
            parts[-1] = (kind, parts[-1][1] + text)
        else:
            parts.append((kind, text))
    return tuple(parts)
