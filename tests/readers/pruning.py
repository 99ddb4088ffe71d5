"""Whether readers pass over what a filter leaves nothing of: files by their partition, row groups by the statistics of a column."""

import os
import re
import sys
import tempfile
from pathlib import Path

import duckdb
import polars
import pyarrow.dataset
import pyarrow.parquet


class NotPruned(Exception):
    pass


def check(folder: Path, files: list[Path], respondent: str, column: str, with_spark: bool) -> str:
    """Asks for the rows of one respondent where `column`, by which rows are sorted, has the value of the respondent's first row.

    Row groups that can hold it are told from the statistics that are in the files; every reader has to read these at most."""
    own = [file for file in files if file.parent.name == f"respondent={respondent}"]
    groups = [bounds for file in own for bounds in row_groups(file, column)]
    value = groups[0][0]
    holding = sum(low <= value <= high for low, high in groups)
    seen = {"duckdb": with_duckdb(folder, respondent, column, value), "pyarrow": with_pyarrow(folder, respondent, column, value),
            "polars": with_polars(folder, respondent, column, value, len(groups))}
    if with_spark:
        import spark

        n_files = spark.files_read(folder, respondent, column, value)
        if n_files != len(own):
            raise NotPruned(f"spark reads {n_files} files, expected the {len(own)} of respondent {respondent}")
    for reader, n in seen.items():
        if n != holding:
            raise NotPruned(f"{reader} reads {n} row groups of {folder}, expected {holding} of {len(groups)}")
    return f"{len(own)} of {len(files)} files by respondent, {holding} of their {len(groups)} row groups by {column}"


def row_groups(file: Path, column: str) -> list[tuple[str, str]]:
    """The least and the greatest value of a column, by row group."""
    metadata = pyarrow.parquet.read_metadata(file)
    index = metadata.schema.to_arrow_schema().get_field_index(column)
    found = [metadata.row_group(group).column(index).statistics for group in range(metadata.num_row_groups)]
    if not all(statistics is not None and statistics.has_min_max for statistics in found):
        raise NotPruned(f"{file} has row groups without statistics of {column}")
    return [(statistics.min, statistics.max) for statistics in found]


def with_duckdb(folder: Path, respondent: str, column: str, value: str) -> int:
    query = f"""EXPLAIN ANALYZE SELECT * FROM read_parquet('{quoted(folder)}/respondent=*/*.parquet')
                WHERE respondent = '{quoted(respondent)}' AND "{column}" = '{quoted(value)}'"""
    plan = duckdb.sql(query).fetchall()[0][1]
    return int(re.search(r"Row Groups Scanned: (\d+)", plan)[1])


def with_pyarrow(folder: Path, respondent: str, column: str, value: str) -> int:
    dataset = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive")
    wanted = (pyarrow.dataset.field("respondent") == respondent) & (pyarrow.dataset.field(column) == value)
    return sum(len(fragment.split_by_row_group(wanted, schema=dataset.schema)) for fragment in dataset.get_fragments(wanted))


def with_polars(folder: Path, respondent: str, column: str, value: str, n_groups: int) -> int:
    """Counts what Polars says under POLARS_VERBOSE; it has no other way to tell."""
    frame = polars.scan_parquet(f"{folder}/respondent=*/*.parquet", hive_partitioning=True)
    frame = frame.filter(polars.col("respondent") == respondent, polars.col(column) == value)
    words = said(lambda: frame.collect())
    read = re.findall(r"Predicate pushdown: reading (\d+) / (\d+) row groups", words)
    if sum(int(of) for _, of in read) > n_groups:
        raise NotPruned(f"polars opens files of other respondents than {respondent}")
    return sum(int(n) for n, _ in read)


def said(run) -> str:
    """What is written to standard error, by whatever library, while something runs."""
    with tempfile.TemporaryFile() as words:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(words.fileno(), 2)
        try:
            polars.Config.set_verbose(True)
            run()
        finally:
            polars.Config.set_verbose(False)
            os.dup2(saved, 2)
            os.close(saved)
        words.seek(0)
        return words.read().decode(errors="replace")


def quoted(text) -> str:
    return str(text).replace("'", "''")
