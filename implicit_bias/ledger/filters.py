"""The page's filters: three choices and a search, and the few lines of script that they need."""

from __future__ import annotations

from collections.abc import Sequence

from implicit_bias.ledger.ledger import VERDICTS, Row
from implicit_bias.results.report import escaped

SCRIPT = """
(function () {
  "use strict";
  var form = document.getElementById("filters");
  var rows = Array.prototype.slice.call(document.querySelectorAll("#rows tr"));
  var count = document.getElementById("count");
  form.hidden = false;
  function apply() {
    var words = form.elements.text.value.toLowerCase().trim();
    var shown = 0;
    rows.forEach(function (row) {
      var fits = ["source", "topic", "verdict"].every(function (key) {
        var wanted = form.elements[key].value;
        return !wanted || row.dataset[key] === wanted;
      }) && (!words || row.dataset.text.indexOf(words) >= 0);
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    count.textContent = shown + " of " + rows.length + " claims";
  }
  form.addEventListener("input", apply);
  form.addEventListener("reset", function () { window.setTimeout(apply, 0); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  apply();
})();
"""
"""Shows the rows that fit; the page's security policy lets this text run and no other."""

FILTER_STYLE = """\
#filters { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin: 0 0 1rem; }
#filters[hidden] { display: none; }
#filters label { display: flex; flex-direction: column; font-size: .8125rem; color: var(--quiet); }
#filters select, #filters input, #filters button {
  font: inherit; padding: .25rem .4rem; color: var(--text); background: var(--ground);
  border: 1px solid var(--rule); border-radius: 4px; max-width: 100%;
}
#rows tr[hidden] { display: none; }
article { margin: 0 0 2rem; scroll-margin-top: .5rem; }
article h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
.told thead { display: none; }
.told th { white-space: nowrap; color: var(--quiet); }
.told td { max-width: 46rem; overflow-wrap: anywhere; }
@media print { #filters { display: none !important; } #rows tr[hidden] { display: table-row; } }"""
"""Rules beside the report's own."""


def controls(rows: Sequence[Row]) -> str:
    """Write the filters; without script they are hidden, and all rows are shown."""
    topics = sorted({row.study for row in rows})
    sources = sorted({row.document for row in rows})
    verdicts = [verdict for verdict in VERDICTS if any(row.verdict == verdict for row in rows)]
    choices = "".join(
        f'<label>{label}<select name="{name}"><option value="">all</option>'
        f"{_options(values)}</select></label>"
        for label, name, values in (
            ("Source", "source", sources), ("Topic", "topic", topics), ("Verdict", "verdict", verdicts),
        )
    )  # fmt: skip
    return (
        f'<form id="filters" hidden aria-label="Filters">{choices}'
        '<label>Text<input name="text" type="search" placeholder="claim or word"></label>'
        '<button type="reset">Show all</button> <output id="count" aria-live="polite"></output></form>'
    )


def _options(values: Sequence[str]) -> str:
    return "".join(
        f'<option value="{escaped(value)}">{escaped(value.replace("-", " "))}</option>'
        for value in values
    )
