"""The manual page, made from the command line itself (man(7))."""

from typing import Any


def page_of(command: Any, version: str) -> str:
    """Return the page of a command with sub-commands, as roff. `command` is what typer makes of an
    application.
    """
    lines = [
        f'.TH IMAGEBUILD 1 "" "imagebuild {version}"',
        ".SH NAME",
        f"imagebuild \\- {_text(command.help).rstrip('.')}",
    ]
    lines += [".SH SYNOPSIS", ".B imagebuild", "COMMAND [OPTIONS] [ARGUMENTS]"]
    lines += [".SH COMMANDS"]
    for name, each in _leaves(command, ""):
        lines += [".SS " + _text(name), *_paragraphs(each.help)]
        for parameter in each.params:
            if getattr(parameter, "hidden", False):
                continue
            opts = [*parameter.opts, *parameter.secondary_opts]
            shown = ", ".join(opts) if parameter.param_type_name == "option" else str(parameter.name).upper()
            lines += [".TP", f".B {_text(shown)}", _text(getattr(parameter, "help", None) or "")]
    lines += [
        ".SH EXIT STATUS",
        "0: all good. 1: something failed. 2: wrong usage or configuration. 3: only release criteria failed.",
        "4 and higher: what",
        ".B imagebuild verify",
        "found. 130: interrupted.",
        ".SH FILES",
        "~/.cache/imagebuild: expensive inputs, kept between builds.",
    ]
    return "\n".join(lines) + "\n"


def _leaves(command: Any, before: str) -> list[tuple[str, Any]]:
    found = []
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            found += _leaves(each, f"{before}{name} ")
        elif not each.hidden:
            found.append((f"{before}{name}", each))
    return found


def _paragraphs(text: str | None) -> list[str]:
    found: list[str] = []
    for number, paragraph in enumerate((text or "").strip().split("\n\n")):
        found += [".PP"] if number else []
        found.append(_text(" ".join(paragraph.split())))
    return found


def _text(text: str) -> str:
    """Return text in which nothing is a request or an escape (groff(7))."""
    escaped = (
        " ".join(text.replace("…", "...").split())
        .replace("\\", "\\e")
        .replace("-", "\\-")
        .replace("'", "\\(aq")
    )
    escaped = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in escaped)
    return f"\\&{escaped}" if escaped.startswith((".", "\\(aq")) else escaped
