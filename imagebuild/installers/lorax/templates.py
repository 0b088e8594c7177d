"""Templates for lorax are looked into before it runs: they exist, parse, and use only what they are given."""

import builtins
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mako import parsetree
from mako.exceptions import MakoException
from mako.lexer import Lexer

from imagebuild.errors import BuildError
from imagebuild.installers.lorax import variables as lorax_variables

MAKO = frozenset(
    {"context", "loop", "caller", "self", "parent", "local", "next", "UNDEFINED", "capture", "pageargs"}
)


def check_templates(templates: Sequence[Path], known: frozenset[str] | set[str], key: str) -> None:
    """Check that templates exist, parse, and use only what they are given: lorax finds out after the whole
    package transaction. Raises BuildError.
    """
    for file in templates:
        if not file.is_absolute() or not file.is_file():
            raise BuildError(f"there is no lorax template {file}", hint=f"{key} wants absolute paths")
        try:
            root: Any = Lexer(file.read_text(), filename=str(file)).parse()
        except (MakoException, SyntaxError, OSError, UnicodeDecodeError) as error:
            raise BuildError(f"{file} is not a template: {error}") from error
        lost = sorted(_undeclared(root.nodes) - set(known) - set(dir(builtins)) - MAKO)
        if lost:
            own = lorax_variables.RESERVED & set(lost)
            hint = (
                f"this lorax does not give templates {', '.join(sorted(own))}: write it without"
                if own
                else "installer.lorax.variables can"
            )
            raise BuildError(f"{file} uses {', '.join(lost)}, which nothing defines", hint=hint)


def _undeclared(nodes: Sequence[Any]) -> set[str]:
    used: set[str] = set()
    declared: set[str] = set()
    for node in nodes:
        if isinstance(node, parsetree.PageTag):
            # its arguments are what the template wants, and it says no more than its body does; those with a
            # default need nobody
            declared |= _with_defaults(node.body_decl)
            continue
        # what it calls is declared beside it, its arguments within (mako/codegen.py, _Identifiers)
        declared |= (
            {node.funcname}
            if isinstance(node, parsetree.DefTag)
            else {node.name}
            if isinstance(node, parsetree.NamespaceTag)
            else set()
        )
        used |= set(node.undeclared_identifiers()) if hasattr(node, "undeclared_identifiers") else set()
        declared |= set(node.declared_identifiers()) if hasattr(node, "declared_identifiers") else set()
        used |= _undeclared(getattr(node, "nodes", []))
    return used - declared


def _with_defaults(arguments: Any) -> set[str]:
    """Return those of a template's arguments that nobody must give, by what Mako writes into a `def`
    (mako/ast.py, FunctionDecl).
    """
    texts = arguments.get_argument_expressions()
    return {text.partition("=")[0].lstrip("*") for text in texts if "=" in text or text.startswith("*")}
