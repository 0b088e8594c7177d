"""GRUB's scripting language, parsed: statements with the place of every word in the text, so that it can be changed there.

Grammar and quoting: grub-core/script/{yylex.l,parser.y} and normal/main.c of GRUB 2.06 (rhboot's, which Fedora's media carry). GRUB reads
a file statement by statement; what it cannot parse it complains of and skips, and so is it done here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

# of blocks in blocks: a hostile file must not exhaust the stack
DEEPEST = 60
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


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command with its words and, for menuentry and submenu, its block."""

    words: tuple[Word, ...]
    block: "Block | None"
    start: int
    end: int
    line: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """What is between two braces: `start` and `end` are those of the text between them."""

    statements: tuple["Statement", ...]
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class If:
    """Conditions with what is run when they hold, tried one after the other, and what is run otherwise."""

    branches: tuple[tuple[tuple["Statement", ...], tuple["Statement", ...]], ...]
    otherwise: tuple["Statement", ...]


@dataclass(frozen=True, kw_only=True)
class For:
    """A variable that takes the value of each word in turn."""

    name: str
    words: tuple[Word, ...]
    body: tuple["Statement", ...]


@dataclass(frozen=True, kw_only=True)
class While:
    """A loop, until or while its condition holds."""

    until: bool
    condition: tuple["Statement", ...]
    body: tuple["Statement", ...]


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function's definition."""

    name: str
    body: tuple["Statement", ...]


Statement = Command | If | For | While | Function


@dataclass(frozen=True, kw_only=True)
class Script:
    """A parsed file, and the lines (from 1) that GRUB would complain of."""

    text: str
    statements: tuple[Statement, ...]
    complaints: tuple[int, ...]


class _SyntaxError(Exception):
    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position


def inside(statements: tuple[Statement, ...]) -> Iterator[Command]:
    """Yield the commands of statements and of what is nested in them, but not those in a command's own block."""
    for statement in statements:
        match statement:
            case Command():
                yield statement
            case If():
                for condition, body in statement.branches:
                    yield from inside((*condition, *body))
                yield from inside(statement.otherwise)
            case While():
                yield from inside((*statement.condition, *statement.body))
            case For() | Function():
                yield from inside(statement.body)


def parse(text: str) -> Script:
    """Parse a file."""
    parser = _Parser(text)
    found: list[Statement] = []
    complaints: list[int] = []
    while True:
        parser.skip_ends()
        if parser.position >= len(text):
            break
        before = parser.position
        try:
            found.append(parser.statement(0))
        except _SyntaxError as error:
            complaints.append(text.count("\n", 0, error.position) + 1)
            # GRUB goes on with the line after the one it stumbled over
            newline = text.find("\n", max(before, error.position))
            parser.position = len(text) if newline < 0 else newline + 1
    return Script(text=text, statements=tuple(found), complaints=tuple(complaints))


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.ended = ""

    # --- words ---

    def skip_blanks(self) -> None:
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
        self.skip_blanks()
        while self.position < len(self.text) and self.text[self.position] in ENDS:
            self.position += 1
            self.skip_blanks()

    def operator(self) -> str:
        """Return the operator that comes next; empty for a word, a newline for the end of the file."""
        self.skip_blanks()
        if self.position >= len(self.text):
            return "\n"
        return next((known for known in OPERATORS if self.text.startswith(known, self.position)), "")

    def peek(self) -> str:
        """Return the word that comes next, without taking it; empty when none comes."""
        if self.operator():
            return ""
        before = self.position
        word = self.word()
        self.position = before
        return word.text if word.pieces and word.pieces[0][0] is Kind.TEXT and len(word.pieces) == 1 else "$"

    def expect(self, wanted: str) -> None:
        if wanted == "{" and self.operator() == "{":
            self.position += 1
        elif wanted == "{" or self.peek() != wanted:
            raise _SyntaxError(self.position)
        else:
            self.word()

    def word(self) -> Word:
        self.skip_blanks()
        start, pieces = self.position, list[tuple[Kind, str]]()
        while self.position < len(self.text):
            character = self.text[self.position]
            if character in BLANKS or any(self.text.startswith(known, self.position) for known in OPERATORS) or character == "\r":
                break
            pieces += self._piece(character)
        if not pieces:
            raise _SyntaxError(start)
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
        if following == "x" and len(digits) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            self.position += 2
            return [(Kind.TEXT, f"\\x{digits}")]
        return [(Kind.QUOTED, following)]

    def _until_quote(self, start: int) -> str:
        end = self.text.find("'", start)
        if end < 0:
            raise _SyntaxError(start)
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
            elif character == "\\" and self.text[self.position + 1 : self.position + 2] in ("$", "\\", '"', "\n"):
                following = self.text[self.position + 1]
                pieces.append((Kind.QUOTED, "" if following == "\n" else following))
                self.position += 2
            else:
                pieces.append((Kind.QUOTED, character))
                self.position += 1
        raise _SyntaxError(begun)

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
            raise _SyntaxError(self.position)
        self.position = end + braced
        return self.text[at:end]

    # --- statements ---

    def statement(self, depth: int) -> Statement:
        if depth > DEEPEST:
            raise _SyntaxError(self.position)
        first = self.peek()
        if not first:
            raise _SyntaxError(self.position)
        if first in ("if", "for", "while", "until", "function"):
            self.word()
        match first:
            case "if":
                return self._if(depth)
            case "for":
                return self._for(depth)
            case "while" | "until":
                condition = self.statements(("do",), depth)
                return While(until=first == "until", condition=condition, body=self.statements(("done",), depth))
            case "function":
                name = self.word().text
                self.skip_ends()
                return Function(name=name, body=self._block(depth).statements)
        return self._command(depth)

    def statements(self, ends: tuple[str, ...], depth: int) -> tuple[Statement, ...]:
        """Take statements up to one of the reserved words, and that word."""
        found: list[Statement] = []
        while True:
            self.skip_ends()
            if self.position >= len(self.text):
                raise _SyntaxError(self.position)
            if self.peek() in ends:
                self.ended = self.word().text
                return tuple(found)
            found.append(self.statement(depth + 1))

    def _if(self, depth: int) -> If:
        branches = []
        while True:
            condition = self.statements(("then",), depth)
            branches.append((condition, self.statements(("else", "elif", "fi"), depth)))
            if self.ended == "elif":
                continue
            otherwise = self.statements(("fi",), depth) if self.ended == "else" else ()
            return If(branches=tuple(branches), otherwise=otherwise)

    def _for(self, depth: int) -> For:
        name = self.word().text
        self.expect("in")
        words = []
        while not self.operator():
            words.append(self.word())
        self.skip_ends()
        self.expect("do")
        return For(name=name, words=tuple(words), body=self.statements(("done",), depth))

    def _command(self, depth: int) -> Command:
        self.skip_blanks()
        start, words = self.position, []
        while not self.operator():
            words.append(self.word())
        block, end = None, words[-1].end
        if self.operator() == "{":
            block = self._block(depth)
            end = self.position
        if self.operator() not in ("\n", ";", "}"):
            raise _SyntaxError(self.position)
        return Command(words=tuple(words), block=block, start=start, end=end, line=self.text.count("\n", 0, start) + 1)

    def _block(self, depth: int) -> Block:
        self.expect("{")
        start, found = self.position, list[Statement]()
        while True:
            self.skip_ends()
            if self.position >= len(self.text):
                raise _SyntaxError(start)
            if self.operator() == "}":
                end = self.position
                self.position += 1
                return Block(statements=tuple(found), start=start, end=end)
            found.append(self.statement(depth + 1))


def _joined(pieces: list[tuple[Kind, str]]) -> tuple[tuple[Kind, str], ...]:
    found: list[tuple[Kind, str]] = []
    for kind, text in pieces:
        if found and found[-1][0] is kind and kind in (Kind.TEXT, Kind.QUOTED):
            found[-1] = (kind, found[-1][1] + text)
        else:
            found.append((kind, text))
    return tuple(found)
