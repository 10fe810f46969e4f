"""Arrays in, arrays out: datasets, what is done to them, and the order in which they are used."""

from implicit_bias.data.batches import (
    epoch_batch,
    epoch_order,
    replacement_batch,
    updates_per_epoch,
)
from implicit_bias.data.dataset import Dataset, Task
from implicit_bias.data.digits import digits
from implicit_bias.data.load import Listing, available, load
from implicit_bias.data.prepare import prepare
from implicit_bias.data.synthetic import (
    gaussian_classes,
    linear_regression,
    linear_teacher,
    teacher_student,
)
from implicit_bias.data.tokens import markov_chain, modular_arithmetic, text
from implicit_bias.data.transforms import (
    class_quotas,
    random_split,
    split_indices,
    standardise,
    stratified_split,
    stratified_subset,
    symmetric_label_noise,
)

__all__ = [
    "Dataset",
    "Listing",
    "Task",
    "available",
    "class_quotas",
    "digits",
    "epoch_batch",
    "epoch_order",
    "gaussian_classes",
    "linear_regression",
    "linear_teacher",
    "load",
    "markov_chain",
    "modular_arithmetic",
    "prepare",
    "random_split",
    "replacement_batch",
    "split_indices",
    "standardise",
    "stratified_split",
    "stratified_subset",
    "symmetric_label_noise",
    "teacher_student",
    "text",
    "updates_per_epoch",
]
