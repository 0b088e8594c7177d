"""The templates of pages, as jinja2 loads them: everything is escaped, and a missing value is an error."""

from collections.abc import Callable
from urllib.parse import quote

import jinja2

from imagebuild.config.places import shared_directory


def template(name: str, **filters: Callable[..., str]) -> jinja2.Template:
    """Return a template by its file name below `templates/`; `*.txt.j2` is plain text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shared_directory("templates")),
        autoescape=jinja2.select_autoescape(disabled_extensions=("txt.j2",), default=True),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"css": lambda state: str(state).replace(" ", "-"), "link": quote, **filters}
    return environment.get_template(name)
