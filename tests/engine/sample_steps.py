"""Small steps."""

from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.model import ArtifactPath

calls: list[str] = []


@dataclass(frozen=True)
class Text:
    file: ArtifactPath


def write(out: Path, text: str) -> Text:
    calls.append(f"write {text}")
    (out / "text").write_text(text)
    return Text(out / "text")


def join(out: Path, texts: tuple[Text, ...], separator: str) -> Text:
    calls.append("join")
    (out / "text").write_text(separator.join(text.file.read_text() for text in texts))
    return Text(out / "text")


def shout(out: Path, text: Text) -> Text:
    calls.append("shout")
    (out / "text").write_text(text.file.read_text().upper())
    return Text(out / "text")


def fail(out: Path, text: Text) -> Text:
    (out / "half").write_text("half an artifact")
    raise BuildError("no luck", hint="try again")
