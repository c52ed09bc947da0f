"""A small document of headings, paragraphs, tables and pictures, as text or as a web page.

A report is put together once and shown twice: on the terminal without its pictures, and as one
HTML file that needs nothing beside it.
"""

import base64
import dataclasses
import html
import re
import textwrap
from collections.abc import Sequence

from cbed_tf.notation import Notation

_TEXT_WIDTH = 100

Cell = str | Notation
_NUMBER = re.compile(r"[-+]?[\d,]+(\.\d+)?(e[-+]?\d+)?( %)?|nan|inf|–|")


@dataclasses.dataclass(frozen=True)
class Heading:
    """The title of a section; level 1 is the document's own."""

    text: str
    level: int = 2


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A text; a warning stands out."""

    text: str
    warning: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under a header; columns of numbers are aligned to the right.

    Attributes:
      header: Name of each column.
      rows: Cells.
      folded: Whether a web page shows it only when asked; the text leaves it out.
      summary: What the reader of the web page clicks on then.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False
    summary: str = ""

    def numeric(self) -> list[bool]:
        """Returns which columns hold nothing but numbers."""
        return [
            all(_NUMBER.fullmatch(str(row[column])) for row in self.rows)
            for column in range(len(self.header))
        ]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture for the web page, drawn before.

    Attributes:
      content: The file.
      kind: 'png' or 'svg+xml'.
      alternative: What it shows, for those who do not see it.
      caption: Below it; a line each.
    """

    content: bytes
    kind: str
    alternative: str
    caption: tuple[Sequence[Cell], ...] = ()


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    pictures: tuple[Picture, ...]


Block = Heading | Paragraph | Table | Picture | Gallery


def as_text(blocks: Sequence[Block]) -> str:
    """Returns the document for a terminal."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            underline = "=" if block.level == 1 else "-"
            parts.append(f"{block.text}\n{underline * len(block.text)}")
        elif isinstance(block, Paragraph):
            text = f"WARNING: {block.text}" if block.warning else block.text
            parts.append(textwrap.fill(text, _TEXT_WIDTH, break_long_words=False))
        elif isinstance(block, Table) and not block.folded:
            parts.append(_table_text(block))
    return "\n\n".join(parts)


def _table_text(table: Table) -> str:
    lines = [table.header, *(tuple(map(str, row)) for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    columns = list(zip(widths, table.numeric(), strict=True))
    return "\n".join(
        "  ".join(
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, (width, numeric) in zip(line, columns, strict=True)
        ).rstrip()
        for line in lines
    )


def as_html(blocks: Sequence[Block], title: str) -> str:
    """Returns the document as one HTML file: styles and pictures within, no script, no link."""
    body = "\n".join(_block_html(block) for block in blocks)
    return _PAGE.format(title=html.escape(title), style=_STYLE, body=body)


def _block_html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        kind = ' class="warning"' if block.warning else ""
        return f"<p{kind}>{html.escape(block.text)}</p>"
    if isinstance(block, Table):
        return _table_html(block)
    if isinstance(block, Gallery):
        return f'<div class="gallery">{"".join(map(_picture_html, block.pictures))}</div>'
    return _picture_html(block)


def _table_html(table: Table) -> str:
    kinds = [' class="number"' if numeric else "" for numeric in table.numeric()]
    header = "".join(
        f"<th{kind}>{html.escape(name)}</th>"
        for kind, name in zip(kinds, table.header, strict=True)
    )
    rows = "\n".join(
        "<tr>"
        + "".join(
            f"<td{kind}>{_cell_html(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    markup = f"<table><thead><tr>{header}</tr></thead>\n<tbody>{rows}</tbody></table>"
    if not table.folded:
        return markup
    return f"<details><summary>{html.escape(table.summary)}</summary>{markup}</details>"


def _picture_html(picture: Picture) -> str:
    data = base64.b64encode(picture.content).decode()
    caption = "<br>".join("".join(map(_cell_html, line)) for line in picture.caption)
    return (
        f'<figure><img alt="{html.escape(picture.alternative)}" '
        f'src="data:image/{picture.kind};base64,{data}">'
        + (f"<figcaption>{caption}</figcaption>" if caption else "")
        + "</figure>"
    )


def _cell_html(cell: Cell) -> str:
    return cell.html() if isinstance(cell, Notation) else html.escape(cell)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light; }
body { margin: 2.5rem auto; max-width: 70rem; padding: 0 1.5rem; background: #fff; color: #222;
  font: 16px/1.55 "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid #ddd; }
p { max-width: 46rem; }
.warning { padding: .6rem 1rem; border-left: 4px solid #c0392b; background: #fdf0ee;
  font-weight: 600; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .875rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.1rem .3rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid #eee; overflow-wrap: anywhere; }
th { font-weight: 600; border-bottom: 1px solid #999; white-space: nowrap; }
.number { text-align: right; }
th.number, td.number { padding-left: .6rem; }
sub { line-height: 0; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .875rem; line-height: 1.45; margin-top: .4rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr));
  gap: 1rem 2rem; }
summary { cursor: pointer; color: #33475b; }
details table { margin-top: .5rem; }
"""
