"""Tables as Markdown and HTML: escaped, with headers."""

from __future__ import annotations

from implicit_bias.results.table import make_table, to_html, to_markdown


def test_markdown_escapes_its_own_signs() -> None:
    # Breaks if |error| makes new columns or <b> becomes HTML.
    table = make_table(["a", "n"], [["|error| <b> *x*\nline", 3]])
    lines = to_markdown(table).split("\n")
    assert lines[1] == "|---|---:|"
    assert lines[2] == r"| \|error\| \<b\> \*x\*<br>line | 3 |"


def test_html_escapes_and_marks_headers() -> None:
    # Breaks if a data set's name can inject markup, or cells lose their headers.
    table = make_table(["<arm>", "n"], [["<script>", 3]], caption="a & b", notes=("x < y",))
    text = to_html(table)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "<caption>a &amp; b</caption>" in text
    assert '<th scope="col">&lt;arm&gt;</th>' in text
    assert '<th scope="row">' in text
    assert '<td class="number">3</td>' in text
    assert "x &lt; y" in text
