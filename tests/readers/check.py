"""Opens a data set of judgments in DuckDB, Polars and pyarrow, and asks that they see the same thing.

    python tests/readers/check.py STUDY/judgments
    python tests/readers/check.py STUDY/oddoneout

Every reader is used with its defaults, as a user would. Exits with 1 and a message on the first disagreement.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

# One type, as each reader calls it.
NAMES_OF_TYPES = {
    "i8": {"duckdb": "TINYINT", "polars": "Int8", "pyarrow": "int8"},
    "i16": {"duckdb": "SMALLINT", "polars": "Int16", "pyarrow": "int16"},
    "i32": {"duckdb": "INTEGER", "polars": "Int32", "pyarrow": "int32"},
    "i64": {"duckdb": "BIGINT", "polars": "Int64", "pyarrow": "int64"},
    "f32": {"duckdb": "FLOAT", "polars": "Float32", "pyarrow": "float"},
    "bool": {"duckdb": "BOOLEAN", "polars": "Boolean", "pyarrow": "bool"},
    "utf8": {"duckdb": "VARCHAR", "polars": "String", "pyarrow": "string"},
}


def listed(text: str) -> list[tuple[str, str]]:
    return [tuple(line.split()) for line in text.strip().splitlines()]


@dataclass(frozen=True)
class Task:
    """A data set's columns as src/store/judgments/columns.rs lists them (the readers add the partition key at the end), the
    column of the answer, and that of the option shown first."""

    columns: list[tuple[str, str]]
    answer: str
    first: str


ANCHORED = Task(answer="chosen", first="first", columns=listed("""
    triplet_id i64
    anchor utf8
    first utf8
    second utf8
    anchor_id i32
    first_id i32
    second_id i32
    order i8
    repeat i16
    chosen utf8
    chose_first bool
    decision utf8
    score_kind utf8
    score_first f32
    score_second f32
    p_decision f32
    log_prob_first f32
    log_prob_second f32
    closed bool
    prior_first f32
    prior_second f32
    p_first f32
    p_first_greedy f32
    choice_mass f32
    top_token utf8
    top_token_id i32
    top_log_prob f32
    n_tokens_first i16
    n_tokens_second i16
    n_chars_first i16
    n_chars_second i16
    n_bytes_first i16
    n_bytes_second i16
    n_prompt_tokens i32
    response utf8
    parse utf8
    model utf8
    respondent utf8
"""))
ODD_ONE_OUT = Task(answer="odd", first="a", columns=listed("""
    triplet_id i64
    a utf8
    b utf8
    c utf8
    a_id i32
    b_id i32
    c_id i32
    order i8
    repeat i16
    odd utf8
    decision utf8
    score_kind utf8
    score_a f32
    score_b f32
    score_c f32
    p_a f32
    p_b f32
    p_c f32
    log_prob_a f32
    log_prob_b f32
    log_prob_c f32
    closed bool
    prior_a f32
    prior_b f32
    prior_c f32
    choice_mass f32
    top_token utf8
    top_token_id i32
    top_log_prob f32
    n_tokens_a i16
    n_tokens_b i16
    n_tokens_c i16
    n_chars_a i16
    n_chars_b i16
    n_chars_c i16
    n_bytes_a i16
    n_bytes_b i16
    n_bytes_c i16
    n_prompt_tokens i32
    response utf8
    parse utf8
    model utf8
    respondent utf8
"""))
VERSION_KEY = "alike.schema_version"


class Disagreement(Exception):
    pass


@dataclass
class View:
    """What one reader makes of the data set."""

    columns: list[tuple[str, str]]
    respondents: list[str]
    versions: list[str | None]  # one per file
    n_rows: int
    sum_triplet_id: int
    sum_log_prob: float  # of the option shown first
    n_first: int  # answers that name it
    n_closed: int


def with_duckdb(folder: Path, files: list[Path], task: Task) -> View:
    source = f"read_parquet('{quoted(folder)}/*/*.parquet')"
    columns = [row[:2] for row in duckdb.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    (sums,) = duckdb.sql(f"""SELECT count(*), sum(triplet_id), sum(log_prob_{task.first}::DOUBLE),
                                    count(*) FILTER ({task.answer} = {task.first}), count(*) FILTER (closed)
                             FROM {source}""").fetchall()
    respondents = duckdb.sql(f"SELECT DISTINCT respondent FROM {source} ORDER BY 1").fetchall()
    versions = []
    for file in files:
        pairs = duckdb.sql(f"SELECT key, value FROM parquet_kv_metadata('{quoted(file)}')").fetchall()
        versions.append({bytes(key).decode(): bytes(value).decode() for key, value in pairs}.get(VERSION_KEY))
    n_rows, ids, log_probs, *counts = sums
    return View(columns, [row[0] for row in respondents], versions, n_rows, int(ids or 0), log_probs or 0.0, *counts)


def with_polars(folder: Path, files: list[Path], task: Task) -> View:
    frame = polars.scan_parquet(f"{folder}/*/*.parquet", hive_partitioning=True)
    columns = [(name, str(kind)) for name, kind in frame.collect_schema().items()]
    sums = frame.select(
        n=polars.len(),
        ids=polars.col("triplet_id").sum(),
        log_probs=polars.col(f"log_prob_{task.first}").cast(polars.Float64).sum(),
        first=(polars.col(task.answer) == polars.col(task.first)).sum(),
        closed=polars.col("closed").sum(),
    ).collect().row(0)
    respondents = frame.select("respondent").unique().sort("respondent").collect()["respondent"].to_list()
    versions = [polars.read_parquet_metadata(file).get(VERSION_KEY) for file in files]
    return View(columns, respondents, versions, *sums)


def with_pyarrow(folder: Path, files: list[Path], task: Task) -> View:
    dataset = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive")
    log_prob = f"log_prob_{task.first}"
    table = dataset.to_table(columns=["triplet_id", log_prob, task.answer, task.first, "closed", "respondent"])
    metadata = [pyarrow.parquet.read_metadata(file).metadata or {} for file in files]

    def total(values):
        return pyarrow.compute.sum(values, min_count=0).as_py()

    return View(
        columns=[(field.name, str(field.type)) for field in dataset.schema],
        respondents=sorted(table["respondent"].unique().to_pylist()),
        versions=[pairs.get(VERSION_KEY.encode(), b"").decode() or None for pairs in metadata],
        n_rows=table.num_rows,
        sum_triplet_id=total(table["triplet_id"]),
        sum_log_prob=total(pyarrow.compute.cast(table[log_prob], "float64")),
        n_first=total(pyarrow.compute.equal(table[task.answer], table[task.first])),
        n_closed=total(table["closed"]),
    )


READERS = {"duckdb": (with_duckdb, duckdb.__version__), "polars": (with_polars, polars.__version__),
           "pyarrow": (with_pyarrow, pyarrow.__version__)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judgments", type=Path, help="folder that holds respondent=LABEL folders")
    folder = parser.parse_args().judgments
    try:
        check(folder)
    except Disagreement as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def check(folder: Path) -> None:
    files = sorted(folder.glob("respondent=*/part-*.parquet"))
    if not files:
        raise Disagreement(f"{folder} holds no respondent=LABEL/part-*.parquet")
    task = ODD_ONE_OUT if "odd" in pyarrow.parquet.read_schema(files[0]).names else ANCHORED
    expected = sorted({file.parent.name.removeprefix("respondent=") for file in files})
    for file in files:  # readers take the columns of the first file they meet for those of all
        found = [(field.name, str(field.type)) for field in pyarrow.parquet.read_schema(file)]
        check_columns(str(file), found, [(name, NAMES_OF_TYPES[kind]["pyarrow"]) for name, kind in task.columns[:-1]])
    first = None
    for reader, (read, version) in READERS.items():
        try:
            view = read(folder, files, task)
        except Exception as error:
            raise Disagreement(f"{reader} {version} cannot read {folder}: {error}") from error
        check_columns(reader, view.columns, [(name, NAMES_OF_TYPES[kind][reader]) for name, kind in task.columns])
        agree(reader, "respondents", view.respondents, "folder names", expected)
        if None in view.versions:
            raise Disagreement(f"{reader} finds no {VERSION_KEY} in {files[view.versions.index(None)]}")
        if first is None:
            first = (reader, view)
        for name in ("versions", "n_rows", "sum_triplet_id", "sum_log_prob", "n_first", "n_closed"):
            agree(reader, name, getattr(view, name), first[0], getattr(first[1], name))
        print(f"{reader} {version}: {len(files)} files, {view.n_rows} rows, {len(view.columns)} columns, "
              f"sum log_prob_{task.first} {view.sum_log_prob:.6f}")


def check_columns(where: str, found: list[tuple[str, str]], expected: list[tuple[str, str]]) -> None:
    for i, (want, got) in enumerate(zip(expected, found)):
        if want != got:
            raise Disagreement(f"{where}: column {i} is {got[0]} {got[1]}, expected {want[0]} {want[1]}")
    if len(found) != len(expected):
        raise Disagreement(f"{where}: {len(found)} columns, expected {len(expected)}")


def agree(reader: str, what: str, found, other: str, expected) -> None:
    if isinstance(found, float):  # sums in another order
        same = math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-9)
    else:
        same = found == expected
    if not same:
        raise Disagreement(f"{what}: {reader} has {found}, {other} has {expected}")


def quoted(path: Path) -> str:
    return str(path).replace("'", "''")


if __name__ == "__main__":
    sys.exit(main())
