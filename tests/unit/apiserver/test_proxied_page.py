"""What `proxy` changes in the pages it hands through."""
from __future__ import annotations

import gzip
import zlib

import pytest

from kubepy.apiserver.stream.html import Links, rewriter

PREFIX = "/api/v1/namespaces/n/services/s:http/proxy"
LINKS = Links(PREFIX, frozenset(("10.0.0.7:80", "api:6443")))


@pytest.mark.parametrize(("address", "expected"), [
    pytest.param("/a?b=c#d", f"{PREFIX}/a?b=c#d", id="a path of the backend"),
    pytest.param("/a/../b/", f"{PREFIX}/b/", id="a path with dots, its slash at the end kept"),
    pytest.param("a/b", "a/b", id="relative"),
    pytest.param(f"{PREFIX}/a", f"{PREFIX}/a", id="one that leads through the proxy already"),
    pytest.param("http://10.0.0.7:80/a", f"{PREFIX}/a", id="the backend by name"),
    pytest.param("https://example.org/a", "https://example.org/a", id="another host"),
    pytest.param("//example.org/a", "//example.org/a", id="another host in the same scheme"),
    pytest.param("mailto:a@b", "mailto:a@b", id="no path"),
])
def test_addresses(address: str, expected: str) -> None:
    assert LINKS.rewrite(address) == expected


PAGES = [
    pytest.param('<a href="/x">t</a>', f'<a href="{PREFIX}/x">t</a>', id="a link"),
    pytest.param("<A class=b HREF = '/x?a&amp;b'/>", f'<A class=b HREF = "{PREFIX}/x?a&amp;b"/>', id="single quotes, entities, capitals"),
    pytest.param("<img alt='a > b' src=/i.png><p title=\"/x\">", f"<img alt='a > b' src=\"{PREFIX}/i.png\"><p title=\"/x\">",
                 id="no quotes; other attributes stay"),
    pytest.param('<!-- <a href="/x"> --><script>"<a href=\'/x\'>"</script><a href="/y">',
                 f'<!-- <a href="/x"> --><script>"<a href=\'/x\'>"</script><a href="{PREFIX}/y">', id="comments and scripts stay"),
    pytest.param("1 < 2 <3 </p> <", "1 < 2 <3 </p> <", id="what is no tag"),
]


@pytest.mark.parametrize("piece", [1, 5, 4096], ids=lambda size: f"arriving {size} bytes at a time")
@pytest.mark.parametrize(("page", "expected"), PAGES)
def test_pages(page: str, expected: str, piece: int) -> None:
    through = rewriter(LINKS, "text/html; charset=utf-8", "")
    assert through
    data = page.encode()
    out = b"".join(through.feed(data[start:start + piece]) for start in range(0, len(data), piece)) + through.finish()
    assert out.decode() == expected


@pytest.mark.parametrize(("encoding", "pack", "unpack"), [
    pytest.param("gzip", gzip.compress, gzip.decompress, id="gzip"), pytest.param("deflate", zlib.compress, zlib.decompress, id="deflate")])
def test_compressed_pages(encoding: str, pack: object, unpack: object) -> None:
    through = rewriter(LINKS, "text/html", encoding)
    assert through
    packed = pack(b'<a href="/x">')  # type: ignore[operator]
    assert unpack(through.feed(packed[:9]) + through.feed(packed[9:]) + through.finish()) == f'<a href="{PREFIX}/x">'.encode()  # type: ignore[operator]


@pytest.mark.parametrize(("kind", "encoding"), [("application/json", ""), ("text/html", "br"), ("", "")])
def test_other_answers_pass_as_they_are(kind: str, encoding: str) -> None:
    assert rewriter(LINKS, kind, encoding) is None


def test_what_is_no_tag_is_not_held_for_ever() -> None:
    through = rewriter(LINKS, "text/html", "")
    assert through
    data = b"<a " + b"x" * (80 << 10)
    assert len(through.feed(data)) > 1 << 10
