"""GRUB's scripting language, parsed: statements with the place of every word in the text, so that it can be
changed there.

Grammar and quoting: grub-core/script/{yylex.l,parser.y} and normal/main.c of GRUB 2.06 (rhboot's, which
Fedora's media carry). GRUB reads a file statement by statement; what it cannot parse it complains of and
skips, and so is it done here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from imagebuild.tools.menus.grub_words import GrubSyntaxError, Word, Words

# of blocks in blocks: a hostile file must not exhaust the stack
DEEPEST = 60


@dataclass(frozen=True, kw_only=True)
class GrubCommand:
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


Statement = GrubCommand | If | For | While | Function


@dataclass(frozen=True, kw_only=True)
class ParsedScript:
    """A parsed file, and the lines (from 1) that GRUB would complain of."""

    text: str
    statements: tuple[Statement, ...]
    complaints: tuple[int, ...]


def inside(statements: tuple[Statement, ...]) -> Iterator[GrubCommand]:
    """Yield the commands of statements and of what is nested in them, but not those in a command's own
    block.
    """
    for statement in statements:
        match statement:
            case GrubCommand():
                yield statement
            case If():
                for condition, body in statement.branches:
                    yield from inside((*condition, *body))
                yield from inside(statement.otherwise)
            case While():
                yield from inside((*statement.condition, *statement.body))
            case For() | Function():
                yield from inside(statement.body)


def parse(text: str) -> ParsedScript:
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
        except GrubSyntaxError as error:
            complaints.append(text.count("\n", 0, error.position) + 1)
            # GRUB goes on with the line after the one it stumbled over
            newline = text.find("\n", max(before, error.position))
            parser.position = len(text) if newline < 0 else newline + 1
    return ParsedScript(text=text, statements=tuple(found), complaints=tuple(complaints))


class _Parser(Words):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.ended = ""

    def statement(self, depth: int) -> Statement:
        if depth > DEEPEST:
            raise GrubSyntaxError(self.position)
        first = self.peek()
        if not first:
            raise GrubSyntaxError(self.position)
        if first in ("if", "for", "while", "until", "function"):
            self.word()
        match first:
            case "if":
                return self._if(depth)
            case "for":
                return self._for(depth)
            case "while" | "until":
                condition = self.statements(("do",), depth)
                return While(
                    until=first == "until", condition=condition, body=self.statements(("done",), depth)
                )
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
                raise GrubSyntaxError(self.position)
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

    def _command(self, depth: int) -> GrubCommand:
        self.skip_blanks()
        start, words = self.position, []
        while not self.operator():
            words.append(self.word())
        block, end = None, words[-1].end
        if self.operator() == "{":
            block = self._block(depth)
            end = self.position
        if self.operator() not in ("\n", ";", "}"):
            raise GrubSyntaxError(self.position)
        return GrubCommand(
            words=tuple(words), block=block, start=start, end=end, line=self.text.count("\n", 0, start) + 1
        )

    def _block(self, depth: int) -> Block:
        self.expect("{")
        start, found = self.position, list[Statement]()
        while True:
            self.skip_ends()
            if self.position >= len(self.text):
                raise GrubSyntaxError(start)
            if self.operator() == "}":
                end = self.position
                self.position += 1
                return Block(statements=tuple(found), start=start, end=end)
            found.append(self.statement(depth + 1))
