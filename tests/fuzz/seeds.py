"""Parquet files as others write them: the seeds of the fuzzing of Parquet readers.

    .env/readers/bin/python tests/fuzz/seeds.py
"""

from pathlib import Path

import polars
import pyarrow as pa
import pyarrow.parquet as pq

SEEDS = Path(__file__).parent / "seeds"
NAMES = ["bear", "cat", "dog", "fox"]
CHOICES = pa.table(
    {
        "anchor": NAMES,
        "first": NAMES[1:] + NAMES[:1],
        "second": NAMES[2:] + NAMES[:2],
        "chosen": [None, "dog", "fox", "bear"],
        "p": [0.5, 0.25, 1.0, 0.0],
        "weight": pa.array([1, 2, 3, 4], pa.int32()),
        "sure": [True, None, False, True],
    }
)
REQUESTS = pa.table(
    {
        "id": [70, 71],
        "prompt": ["Q", None],
        "messages": [None, [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Q"}]],
        "choices": [["a", "b"], ["c"]],
        "gold": [1.0, None],
        "subject": pa.array(["x", "x"]).dictionary_encode(),
    }
)
EMBEDDING = pa.table({"concept": NAMES, "category": ["a", None, "b", "b"], "d00": [0.5, 1, 2, 3], "d01": [1.0, 0, -1, 4]})
WAYS = {
    "plain": {"compression": "none", "use_dictionary": False},
    "dictionary": {"compression": "snappy", "use_dictionary": True, "row_group_size": 2},
    "pages2": {"compression": "zstd", "data_page_version": "2.0", "data_page_size": 16, "write_page_index": True},
    "delta": {
        "compression": "none",
        "use_dictionary": False,
        "column_encoding": {"anchor": "DELTA_BYTE_ARRAY", "first": "DELTA_LENGTH_BYTE_ARRAY", "weight": "DELTA_BINARY_PACKED"},
    },
}

SEEDS.mkdir(exist_ok=True)
for way, options in WAYS.items():
    pq.write_table(CHOICES, SEEDS / f"choices-{way}.parquet", **options)
    if way != "delta":
        pq.write_table(REQUESTS, SEEDS / f"requests-{way}.parquet", **options)
        pq.write_table(EMBEDDING, SEEDS / f"embedding-{way}.parquet", **options)
polars.from_arrow(CHOICES).write_parquet(SEEDS / "choices-polars.parquet", compression="uncompressed")
