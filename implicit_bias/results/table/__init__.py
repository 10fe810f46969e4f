"""Tables: one set of rows, as plain text for a terminal, as Markdown and as HTML.

A table holds finished strings, so that the three forms cannot disagree. Numbers become strings here
and nowhere else: how many digits an estimate shows is decided by the width of its interval.
"""

from implicit_bias.results.table.findings import effect_text as effect_text
from implicit_bias.results.table.findings import published_text as published_text
from implicit_bias.results.table.findings import verdict_table as verdict_table
from implicit_bias.results.table.findings import verdict_text as verdict_text
from implicit_bias.results.table.markup import to_html as to_html
from implicit_bias.results.table.markup import to_markdown as to_markdown
from implicit_bias.results.table.numbers import format_estimate as format_estimate
from implicit_bias.results.table.numbers import format_number as format_number
from implicit_bias.results.table.record import field as field
from implicit_bias.results.table.rows import Align as Align
from implicit_bias.results.table.rows import Table as Table
from implicit_bias.results.table.rows import format_cell as format_cell
from implicit_bias.results.table.rows import make_table as make_table
from implicit_bias.results.table.rows import words_then_numbers as words_then_numbers
from implicit_bias.results.table.text import to_text as to_text
from implicit_bias.results.table.words import display_width as display_width
from implicit_bias.results.table.words import plain as plain
