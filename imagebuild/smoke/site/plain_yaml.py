"""YAML of strangers: no tags, no aliases, no repeated depths."""

import yaml


def read_yaml(text: str, where: str) -> object:
    """Return what a text says; nothing said is an empty record. Raises ValueError with what is wrong."""
    try:
        # a few aliases of aliases fill all memory
        if any(isinstance(token, yaml.AnchorToken | yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError(f"{where}: has an anchor or an alias")
        return yaml.safe_load(text) or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{where}: is not YAML: {' '.join(str(error).split())}") from error
