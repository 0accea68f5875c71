"""Links in what `proxy` hands through: they have to lead through the proxy as well (upstream's `pkg/util/proxy.Transport`).

A page is rewritten as it streams past: only the attributes that hold addresses of this host, in tags outside of comments and scripts.
What a backend compresses with gzip or deflate is opened and closed again; other encodings pass as they are.
"""
from __future__ import annotations

import html
import posixpath
import re
import zlib
from urllib.parse import urlsplit, urlunsplit

_URLS = frozenset((
    (b"a", b"href"), (b"applet", b"codebase"), (b"area", b"href"), (b"audio", b"src"), (b"base", b"href"), (b"blockquote", b"cite"),
    (b"body", b"background"), (b"button", b"formaction"), (b"command", b"icon"), (b"del", b"cite"), (b"embed", b"src"),
    (b"form", b"action"), (b"frame", b"longdesc"), (b"frame", b"src"), (b"head", b"profile"), (b"html", b"manifest"),
    (b"iframe", b"longdesc"), (b"iframe", b"src"), (b"img", b"longdesc"), (b"img", b"src"), (b"img", b"usemap"), (b"input", b"src"),
    (b"input", b"formaction"), (b"input", b"usemap"), (b"ins", b"cite"), (b"link", b"href"), (b"object", b"classid"),
    (b"object", b"codebase"), (b"object", b"data"), (b"object", b"usemap"), (b"q", b"cite"), (b"script", b"src"), (b"source", b"src"),
    (b"video", b"poster"), (b"video", b"src")))
_RAW = frozenset((b"iframe", b"noembed", b"noframes", b"noscript", b"plaintext", b"script", b"style", b"textarea", b"title", b"xmp"))
"""Elements whose content is text, whatever it looks like."""
_TAG = re.compile(rb"""<([a-zA-Z][^\s/>]*)((?:[^>"']|"[^"]*"|'[^']*')*)>""")
_ATTRIBUTE = re.compile(rb"""([^\s"'<>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'=<>`]+)""")
_HELD = 64 << 10
"""Bytes of a tag or comment that are waited for; what is longer passes as it is."""


class Links:
    """`prefix` is the proxy's own path, `hosts` the names the backend goes by: links to other hosts, and relative ones, stay."""

    def __init__(self, prefix: str, hosts: frozenset[str]) -> None:
        self._prefix, self._hosts = prefix, hosts

    def rewrite(self, address: str) -> str:
        try:
            parts = urlsplit(address)
        except ValueError:
            return address
        if not parts.path.startswith("/") or (parts.netloc and parts.netloc not in self._hosts):
            return address
        path = parts.path
        if not path.startswith(self._prefix):
            path = posixpath.normpath(f"{self._prefix}/{path.lstrip('/')}") + ("/" if path.endswith("/") else "")
        return urlunsplit(("", "", path, parts.query, parts.fragment))


class Page:
    """`feed` gives what of the page can be passed on already, `finish` the rest."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._buffer = b""
        self._end: re.Pattern[bytes] | None = None
        """The end of the raw text or comment that the buffer starts in."""

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        out: list[bytes] = []
        while self._step(out):
            pass
        return b"".join(out)

    def finish(self) -> bytes:
        rest, self._buffer = self._buffer, b""
        return rest

    def _step(self, out: list[bytes]) -> bool:
        """Moves one piece from the buffer to `out`; whether there may be another."""
        buffer = self._buffer
        if self._end is not None:
            if found := self._end.search(buffer):
                self._end = None
                return self._pass(out, found.end(), buffer[:found.end()])
            self._pass(out, max(0, len(buffer) - 16), buffer[:-16])
            return False
        start = buffer.find(b"<")
        if start < 0:
            self._pass(out, len(buffer), buffer)
            return False
        if buffer.startswith(b"<!--", start):
            self._end = re.compile(rb"-->")
            return self._pass(out, start + 4, buffer[:start + 4])
        if tag := _TAG.match(buffer, start):
            name = tag[1].lower()
            if name in _RAW:
                self._end = re.compile(rb"</" + re.escape(name), re.IGNORECASE)
            return self._pass(out, tag.end(), buffer[:start] + b"<" + tag[1] + self._attributes(name, tag[2]) + b">")
        nothing = len(buffer) - start >= 2 and not (buffer[start + 1:start + 2].isalpha() or b"<!--".startswith(buffer[start:start + 4]))
        if nothing or len(buffer) - start > _HELD:
            return self._pass(out, start + 1, buffer[:start + 1])
        self._pass(out, start, buffer[:start])
        return False

    def _pass(self, out: list[bytes], end: int, text: bytes) -> bool:
        self._buffer = self._buffer[end:]
        if text:
            out.append(text)
        return bool(self._buffer)

    def _attributes(self, name: bytes, text: bytes) -> bytes:
        return _ATTRIBUTE.sub(lambda found: self._attribute(name, found), text)

    def _attribute(self, name: bytes, found: re.Match[bytes]) -> bytes:
        if (name, found[1].lower()) not in _URLS:
            return found[0]
        quoted = found[3][:1] in b"\"'"
        value = html.unescape((found[3][1:-1] if quoted else found[3]).decode("utf-8", "surrogateescape"))
        new = self._links.rewrite(value)
        if new == value:
            return found[0]
        return found[1] + found[2] + b'"' + html.escape(new).encode("utf-8", "surrogateescape") + b'"'


class Compressed:
    """A page inside gzip or deflate."""

    def __init__(self, page: Page, encoding: str) -> None:
        self._page = page
        self._opened = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._closed = zlib.compressobj(wbits=zlib.MAX_WBITS | 16 if encoding == "gzip" else zlib.MAX_WBITS)

    def feed(self, data: bytes) -> bytes:
        packed = self._closed.compress(self._page.feed(self._opened.decompress(data)))
        return packed + self._closed.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        rest = self._page.feed(self._opened.flush()) + self._page.finish()
        return self._closed.compress(rest) + self._closed.flush()


def rewriter(links: Links, content_type: str, encoding: str) -> Page | Compressed | None:
    """What an answer of this type is passed through; None for what passes as it is."""
    if content_type.partition(";")[0].strip() != "text/html":
        return None
    if encoding in ("", "identity"):
        return Page(links)
    return Compressed(Page(links), encoding) if encoding in ("gzip", "deflate") else None
