"""What the test's server gives, and what it does not."""

from pathlib import Path

import pytest
import requests

from imagebuild.tools import web


@pytest.mark.parametrize(
    "path", ["/repo/../secret", "/repo/%2e%2e/secret", "/repo/link", "/repo/", "/secret", "/repo//../secret"]
)
def test_nothing_outside_of_its_directories_is_served(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "repo" / "file").write_text("open")
    with web.serving(web.directories({"/repo/": [tmp_path / "repo"]})) as port:
        session = requests.Session()
        request = requests.Request("GET", f"http://127.0.0.1:{port}/").prepare()
        request.url = f"http://127.0.0.1:{port}{path}"
        assert session.send(request, timeout=5).status_code == 404
        assert requests.get(f"http://127.0.0.1:{port}/repo/file", timeout=5).text == "open"
