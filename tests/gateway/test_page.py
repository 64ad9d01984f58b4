"""The page's policy: hashes of exactly what it carries."""

import base64
import hashlib

import pytest

from csgate.gateway.page import load_page, make_page


def test_hashes_cover_every_byte_between_the_tags() -> None:
    page = make_page(b"<style>a{}</style><script>\n1 < 2;\n</script><script>second()</script>")
    digest = base64.b64encode(hashlib.sha256(b"\n1 < 2;\n").digest()).decode()
    assert page.script_hashes[0] == f"'sha256-{digest}'"
    assert len(page.script_hashes) == 2
    assert len(page.style_hashes) == 1


def test_a_page_without_scripts_may_run_none() -> None:
    assert "script-src 'none'; style-src 'none'" in make_page(b"<p>hello</p>").policy("a.example")


@pytest.mark.parametrize("host", ["a.example", "a.example:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"])
def test_hosts_are_named(host: str) -> None:
    assert f"connect-src 'self' ws://{host} wss://{host};" in make_page(b"").policy(host)


@pytest.mark.parametrize("host", ["", "a b", "a;b", "a.example:port", "[::1", "*", "a" * 300, "a.example\n"])
def test_what_is_no_host_is_not(host: str) -> None:
    assert "connect-src 'self';" in make_page(b"").policy(host)


def test_the_shipped_page_needs_nothing_from_elsewhere() -> None:
    page = load_page()
    text = page.body.decode()
    assert len(page.script_hashes) == len(page.style_hashes) == 1
    assert len(page.body) < 48 * 1024
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        " src=",
        " style=",
    ):
        assert forbidden not in text
    assert 'href="http' not in text
    assert "@import" not in text
    assert "url(" not in text
