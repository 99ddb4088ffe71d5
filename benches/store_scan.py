"""How fast judgments are read by DuckDB, Polars and pyarrow: by the size of row groups, and by the number of files.

    cargo bench --bench store -- 10 65536          # first: 10 million judgments, in parts and put together
    .env/readers/bin/python benches/store_scan.py [FOLDER] [--threads 2] [--repeats 5] [--groups 16384,65536,122880,…]

FOLDER is the `alike-store` that the benchmark left. The file put together is written again with other row groups, its encodings and
compression as they are. Three questions, medians of repeats with the files in the cache: `scan` (mean and count of two columns
over all rows), `anchor` (the same of one anchor, by statistics), `all` (every column into memory; pyarrow alone).
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import duckdb
import polars
import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

GROUPS = "4096,16384,65536,122880,524288,1048576"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir(), "alike-store"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--groups", default=GROUPS)
    options = parser.parse_args()
    pyarrow.set_cpu_count(options.threads)
    duckdb.sql(f"SET threads TO {options.threads}")
    compact = sorted(options.folder.glob("compact/respondent=*/*.parquet"))
    parts = sorted(options.folder.glob("judgments/respondent=*/*.parquet"))
    anchor = duckdb.sql(f"SELECT anchor FROM '{compact[0]}' LIMIT 1 OFFSET 5000000").fetchall()[0][0]
    print(f"| files | row groups of | MB | {' | '.join(f'{name}, ms' for name, _ in SCANS)} |\n|---:|---:|---:|{'---:|' * len(SCANS)}")
    rows_of_part = pyarrow.parquet.read_metadata(parts[0]).num_rows
    report(parts, f"{rows_of_part:,} (parts)", anchor, options.repeats)
    report(compact, "as written", anchor, options.repeats)
    for size in map(int, options.groups.split(",")):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            files = [again(file, Path(folder, file.name), size) for file in compact]
            report(files, f"{size:,}", anchor, options.repeats)


def report(files: list[Path], groups: str, anchor: str, repeats: int) -> None:
    times = [f"{1e3 * median(lambda: scan(files, anchor), repeats):.0f}" for _, scan in SCANS]
    size = sum(file.stat().st_size for file in files) / 1e6
    print(f"| {len(files):,} | {groups} | {size:.0f} | {' | '.join(times)} |", flush=True)


def median(question, repeats: int) -> float:
    question()
    return statistics.median(seconds(question) for _ in range(repeats))


def seconds(question) -> float:
    begun = time.perf_counter()
    question()
    return time.perf_counter() - begun


def again(source: Path, place: Path, rows: int) -> Path:
    """The same rows in other row groups, laid down as they are."""
    file = pyarrow.parquet.ParquetFile(source)
    group = file.metadata.row_group(0)
    columns = [group.column(k) for k in range(group.num_columns)]
    with_dictionary = [c.path_in_schema for c in columns if "RLE_DICTIONARY" in c.encodings]
    encodings = {c.path_in_schema: next(e for e in c.encodings if e != "RLE") for c in columns
                 if c.path_in_schema not in with_dictionary and c.physical_type != "BOOLEAN"}
    with pyarrow.parquet.ParquetWriter(place, file.schema_arrow, compression="zstd", compression_level=3, use_dictionary=with_dictionary,
                                       column_encoding=encodings, write_page_index=True) as writer:
        writer.write_table(file.read(), row_group_size=rows)
    return place


def names(files: list[Path]) -> str:
    return str([str(file) for file in files])


SCANS = [
    ("DuckDB: scan", lambda files, _: duckdb.sql(f"SELECT avg(p_first), count(chosen) FROM read_parquet({names(files)})").fetchall()),
    ("anchor", lambda files, anchor: duckdb.sql(
        f"SELECT avg(p_first), count(chosen) FROM read_parquet({names(files)}) WHERE anchor = '{anchor}'").fetchall()),
    ("Polars: scan", lambda files, _: polars.scan_parquet(files).select(
        polars.col("p_first").mean(), polars.col("chosen").count()).collect()),
    ("anchor", lambda files, anchor: polars.scan_parquet(files).filter(polars.col("anchor") == anchor).select(
        polars.col("p_first").mean(), polars.col("chosen").count()).collect()),
    ("pyarrow: scan", lambda files, _: pyarrow.dataset.dataset(files).to_table(columns=["p_first", "chosen"])),
    ("anchor", lambda files, anchor: pyarrow.dataset.dataset(files).to_table(
        columns=["p_first", "chosen"], filter=pyarrow.compute.field("anchor") == anchor)),
    ("all", lambda files, _: [pyarrow.parquet.read_table(file) for file in files]),
]


if __name__ == "__main__":
    main()
