"""The ledger: every claim of the documents, what was run on it, and the verdict.

``select`` chooses claims of the registry, ``verify`` runs what they need, ``load``, ``merged`` and
``shipped`` read ledgers, ``remarks`` and ``shortfalls`` say what must be known of one, ``compare`` says
what changed between two, and ``write_page`` makes a page of one. This room stands above the
studies: it composes them, and none of them knows of it.
"""

from implicit_bias.ledger.compare import Change as Change
from implicit_bias.ledger.compare import comparable as comparable
from implicit_bias.ledger.compare import compare as compare
from implicit_bias.ledger.demands import lacking as lacking
from implicit_bias.ledger.demands import shortfalls as shortfalls
from implicit_bias.ledger.export import export_figures as export_figures
from implicit_bias.ledger.ledger import Ledger as Ledger
from implicit_bias.ledger.ledger import Row as Row
from implicit_bias.ledger.ledger import combine as combine
from implicit_bias.ledger.ledger import held as held
from implicit_bias.ledger.ledger import size_of as size_of
from implicit_bias.ledger.ledger import writable as writable
from implicit_bias.ledger.merge import merged as merged
from implicit_bias.ledger.page import write_page as write_page
from implicit_bias.ledger.read import load as load
from implicit_bias.ledger.registry import DOCUMENTS as DOCUMENTS
from implicit_bias.ledger.registry import Entry as Entry
from implicit_bias.ledger.registry import get as get
from implicit_bias.ledger.registry import registry as registry
from implicit_bias.ledger.registry import select as select
from implicit_bias.ledger.remarks import remarks as remarks
from implicit_bias.ledger.shipped import caption as caption
from implicit_bias.ledger.shipped import figures_of as figures_of
from implicit_bias.ledger.shipped import keep as keep
from implicit_bias.ledger.shipped import shipped as shipped
from implicit_bias.ledger.tables import arms_table as arms_table
from implicit_bias.ledger.tables import changes_table as changes_table
from implicit_bias.ledger.tables import counts_table as counts_table
from implicit_bias.ledger.tables import explanation as explanation
from implicit_bias.ledger.tables import ledger_table as ledger_table
from implicit_bias.ledger.verify import verify as verify
