"""The report of a run: one HTML file that needs nothing else.

Images are inside the file, there are no scripts, and a content security policy forbids the browser
to load anything. It follows the reader's light or dark setting, fits a phone and prints.
"""

from implicit_bias.results.report.escape import escaped as escaped
from implicit_bias.results.report.figure import Figure as Figure
from implicit_bias.results.report.figure import figure_html as figure_html
from implicit_bias.results.report.page import render_report as render_report
from implicit_bias.results.report.page import write_report as write_report
from implicit_bias.results.report.style import DARK as DARK
from implicit_bias.results.report.style import LIGHT as LIGHT
from implicit_bias.results.report.style import VERDICTS as VERDICTS
from implicit_bias.results.report.style import style_sheet as style_sheet
from implicit_bias.results.report.values import plain_values as plain_values
from implicit_bias.results.report.verdicts import chip as chip
