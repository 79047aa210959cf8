"""Matplotlib's SVG made fit for a page: no style attributes, colours by class, ids that carry the figure's name.

A style attribute would need `unsafe-inline` in the page's content security policy, and a fixed colour cannot follow
the reader's dark mode. So each style becomes presentation attributes (which a viewer without CSS understands) and
each known colour also a class (`f-ink`, `s-ink`), which the page's style sheet may set anew.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_LOCAL = re.compile(r"url\(#([^)]+)\)")
# Older matplotlib writes the shorthand `font: italic 700 10px 'DejaVu Sans'`.
_FONT = re.compile(r"(?P<style>italic|oblique)?\s*(?P<weight>\d{3}|bold)?\s*(?P<size>[\d.]+px)")
CLASS_PREFIXES = ("arm-", "bg")


def refine(text: str, *, name: str, title: str, colours: Mapping[str, str]) -> str:
    """The drawing as one `<svg>` element, equal for a file and for the page.

    Args:
        text: what matplotlib wrote with `svg.fonttype = "none"`.
        name: prefix of every id.
        title: what a screen reader says.
        colours: class suffix by colour (`#rrggbb`).
    """
    root = ET.fromstring(text)
    for child in list(root):
        if child.tag == f"{_SVG}metadata":
            root.remove(child)
    for parent in list(root.iter()):
        for style in [child for child in parent if child.tag == f"{_SVG}style"]:
            parent.remove(style)
    ids = _new_ids(root, name)
    for element in root.iter():
        _refine_element(element, ids, colours)
    _head(root, name, title)
    return _serialise(root)


def _new_ids(root: ET.Element, name: str) -> dict[str, str]:
    """New ids of those elements that others refer to."""
    used: dict[str, str] = {}
    for element in root.iter():
        references = _LOCAL.findall(" ".join(element.attrib.values()))
        if element.attrib.get(_HREF, "").startswith("#"):
            references.append(element.attrib[_HREF].removeprefix("#"))
        for reference in references:
            used.setdefault(reference, f"{name}-{len(used)}")
    return used


def _refine_element(element: ET.Element, ids: Mapping[str, str], colours: Mapping[str, str]) -> None:
    element.tag = element.tag.removeprefix(_SVG)
    attributes, element.attrib = dict(element.attrib), {}
    classes = []
    identity = attributes.pop("id", "")
    if identity in ids:
        element.set("id", ids[identity])
    elif identity.startswith(CLASS_PREFIXES):
        classes.append(identity)
    for key, value in {**attributes, **_declarations(attributes.pop("style", ""))}.items():
        if key == "style" or (key == "transform" and value.startswith("rotate(-0 ")):
            continue
        if key in ("fill", "stroke") and value in colours:
            classes.append(f"{key[0]}-{colours[value]}")
        element.set("href" if key == _HREF else key, _compact(key, value, ids))
    if classes:
        element.set("class", " ".join(classes))
    if element.text and not element.text.strip():
        element.text = None
    if element.tail and not element.tail.strip():
        element.tail = None


def _declarations(style: str) -> dict[str, str]:
    """`fill: #fff; stroke-width: 0.8` as a dict, without the font family, which is the page's."""
    pairs = (part.split(":", 1) for part in style.split(";") if ":" in part)
    found = {key.strip(): value.strip() for key, value in pairs if key.strip() not in ("font-family", "white-space")}
    if match := _FONT.search(found.pop("font", "")):
        found |= {f"font-{name}": value for name, value in match.groupdict().items() if value}
    return found


def _compact(key: str, value: str, ids: Mapping[str, str]) -> str:
    if key == _HREF:
        # An image holds its bytes itself, in lines.
        return f"#{ids[value[1:]]}" if value.startswith("#") else "".join(value.split())
    if "url(#" in value:
        return _LOCAL.sub(lambda match: f"url(#{ids[match[1]]})", value)
    if key in ("d", "x", "y", "width", "height", "transform", "viewBox", "points", "cx", "cy", "r", "stroke-dasharray"):
        return " ".join(_NUMBER.sub(_round, value).split())
    return value


def _round(match: re.Match[str]) -> str:
    text = f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _head(root: ET.Element, name: str, title: str) -> None:
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {width} {height}",
        "width": f"{float(width) * 4 / 3:.0f}",
        "height": f"{float(height) * 4 / 3:.0f}",
        "role": "img",
        "aria-labelledby": f"{name}-title",
        "font-family": "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif",
        "stroke-linejoin": "round",
    }
    element = ET.Element("title", {"id": f"{name}-title"})
    element.text = title
    root.insert(0, element)


def _serialise(root: ET.Element) -> str:
    for group in root.iter("defs"):
        group.tail = None
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)
