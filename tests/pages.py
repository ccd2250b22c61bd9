"""What a page holds, read by Python's own parser."""

import base64
import io
from html.parser import HTMLParser

from PIL import Image

# Elements that may stand in a report; none of them loads anything by itself but ``img``.
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "p", "div", "nav", "a"),
    *("section", "table", "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption", "strong", "details"),
    *("summary", "pre", "code"),
}
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Sections and their texts, pictures, and whatever points out of the page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.images, self.outside, self.titles = [], [], [], [], []
        self.text, self.policy = "", ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.elements.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self.titles.append("")
        if tag == "img":
            self.images.append(given)
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        for name, value in given.items():
            local = (value or "").startswith("#") or (value or "").startswith("data:image/png;base64,")
            if name.startswith("on") or (name in {"src", "href", "srcset", "action", "style"} and not local):
                self.outside.append((tag, name, value))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            assert "url(" not in data
            assert "@import" not in data
            return
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.titles[-1] += data

    def pictures(self):
        """The pictures by what they show, decoded."""
        shown = {}
        for given in self.images:
            picture = Image.open(io.BytesIO(base64.b64decode(given["src"].split(",", 1)[1])))
            picture.load()
            shown[given["alt"]] = picture
        return shown


def read_page(path):
    """A page that keeps to itself: under 3 MB, only known elements, nothing from elsewhere."""
    contents = path.read_bytes()
    assert len(contents) < 3_000_000
    page = Page(contents.decode())
    assert set(page.elements) <= ELEMENTS
    assert page.outside == []
    assert page.policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert all(picture.size > (50, 50) for picture in page.pictures().values())
    return page
