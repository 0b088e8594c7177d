"""Trees behind servers."""

from imagebuild.config.tree import TreeConfig


def settings(url: str, **changes: object) -> TreeConfig:
    known: dict[str, object] = {
        "url": url,
        "allow_unsigned": True,
        "osname": "os",
        "remote": "os",
        "update_url": "https://example.org",
        "update_gpg_key": "/k",
        "attempts": 1,
    }
    return TreeConfig.model_validate(known | changes)
