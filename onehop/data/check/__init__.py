"""The data doctor: what is wrong with a corpus, before a training finds out.

`check_pairs` looks at parallel text, `diagnose_labels` at labelled text, `check_store` at a bounded part of what a
training has read; `clean` and `clean_labels` write a copy without what was found. Everything it judges by (which words
belong together, what each side looks like, how long targets are for their sources) is learnt from the corpus itself.
No torch.
"""

from onehop.data.check.clean import clean
from onehop.data.check.clean_labels import clean_labels
from onehop.data.check.coverage import Coverage
from onehop.data.check.doctor import Diagnosis, check_pairs
from onehop.data.check.fast import check_store, paragraph
from onehop.data.check.finding import Finding, Report
from onehop.data.check.inputs import Input
from onehop.data.check.labels import Labelling, check_labels, diagnose_labels
from onehop.data.check.left import mostly_dropped

__all__ = [
    "Coverage",
    "Diagnosis",
    "Finding",
    "Input",
    "Labelling",
    "Report",
    "check_labels",
    "check_pairs",
    "check_store",
    "clean",
    "clean_labels",
    "diagnose_labels",
    "mostly_dropped",
    "paragraph",
]
