"""Program that turns one TensorFlow Datasets dataset into a plain ``.npz`` file.

Run by :mod:`implicit_bias.data.prepare` as a process of its own, by its path, so that TensorFlow is
never imported where anything is computed. Arguments: name, data folder, output file and, where
there are local files, the folder that holds them. It imports nothing of this package.
"""

from __future__ import annotations

import sys
from typing import Any


def export(name: str, data_dir: str, output: str, manual_dir: str | None = None) -> None:
    """Build the dataset and write ``x_train``, ``y_train``, ``x_test``, ``y_test`` and ``version``.

    Args:
        name: Name of the dataset in TensorFlow Datasets; an image classification set.
        data_dir: Empty folder for its working files.
        output: File to write.
        manual_dir: Folder with the original files, used instead of a download.
    """
    import numpy as np
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    arrays: dict[str, Any] = {}
    for part, records in builder.as_data_source().items():
        # At once: one by one takes thrice as long.
        examples = records.__getitems__(range(len(records)))
        arrays[f"x_{part}"] = np.stack([example["image"] for example in examples])
        arrays[f"y_{part}"] = np.array([example["label"] for example in examples], np.int64)
    arrays["version"] = np.array(tfds.__version__)
    np.savez(output, **arrays)


if __name__ == "__main__":
    export(*sys.argv[1:])
