"""Opens data sets of the same judgments in DuckDB, Polars, pyarrow, pandas and (asked for) Spark, and asks that all see the same thing.

    python tests/readers/check.py STUDY/judgments
    python tests/readers/check.py STUDY/oddoneout COMPACTED     # parts, and the files `alike compact --out COMPACTED` made of them
    python tests/readers/check.py --spark STUDY/judgments

The same columns with the same types, respondents, rows and sums, and the same metadata in every file; readers also pass over the files and
row groups that a filter leaves no rows of (pruning.py). Every reader is used with its defaults, as a user would; pandas alone is
told to keep Arrow's types, for its own have no integer that can be missing. Exits with 1 and a message on the first disagreement.
"""

import argparse
import math
import sys
from pathlib import Path

import duckdb
import pandas
import polars
import pruning
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet
from view import Task, View, of_alike

# One type, as each reader calls it.
NAMES_OF_TYPES = {
    "i8": {"duckdb": "TINYINT", "polars": "Int8", "pyarrow": "int8", "spark": "tinyint"},
    "i16": {"duckdb": "SMALLINT", "polars": "Int16", "pyarrow": "int16", "spark": "smallint"},
    "i32": {"duckdb": "INTEGER", "polars": "Int32", "pyarrow": "int32", "spark": "int"},
    "i64": {"duckdb": "BIGINT", "polars": "Int64", "pyarrow": "int64", "spark": "bigint"},
    "f32": {"duckdb": "FLOAT", "polars": "Float32", "pyarrow": "float", "spark": "float"},
    "bool": {"duckdb": "BOOLEAN", "polars": "Boolean", "pyarrow": "bool", "spark": "boolean"},
    "utf8": {"duckdb": "VARCHAR", "polars": "String", "pyarrow": "string", "spark": "string"},
}


def listed(text: str) -> list[tuple[str, str]]:
    return [tuple(line.split()) for line in text.strip().splitlines()]


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
# What every file says of itself: readers are asked for all that alike wrote.
KEYS = ["alike.fingerprint", "alike.inputs", "alike.parts", "alike.schema_version", "alike.sha256"]


class Disagreement(Exception):
    pass


def with_duckdb(folder: Path, files: list[Path], task: Task) -> View:
    source = f"read_parquet('{quoted(folder)}/respondent=*/*.parquet')"
    columns = [row[:2] for row in duckdb.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    (sums,) = duckdb.sql(f"""SELECT count(*), sum(triplet_id), sum(log_prob_{task.first}::DOUBLE),
                                    count(*) FILTER ({task.answer} = {task.first}), count(*) FILTER (closed)
                             FROM {source}""").fetchall()
    respondents = duckdb.sql(f"SELECT DISTINCT respondent FROM {source} ORDER BY 1").fetchall()
    metadata = []
    for file in files:
        pairs = duckdb.sql(f"SELECT key, value FROM parquet_kv_metadata('{quoted(file)}')").fetchall()
        metadata.append(of_alike({bytes(key).decode(): bytes(value).decode() for key, value in pairs}))
    n_rows, ids, log_probs, *counts = sums
    return View(columns, [row[0] for row in respondents], metadata, n_rows, int(ids or 0), log_probs or 0.0, *counts)


def with_polars(folder: Path, files: list[Path], task: Task) -> View:
    frame = polars.scan_parquet(f"{folder}/respondent=*/*.parquet", hive_partitioning=True)
    columns = [(name, str(kind)) for name, kind in frame.collect_schema().items()]
    sums = frame.select(
        n=polars.len(),
        ids=polars.col("triplet_id").sum(),
        log_probs=polars.col(f"log_prob_{task.first}").cast(polars.Float64).sum(),
        first=(polars.col(task.answer) == polars.col(task.first)).sum(),
        closed=polars.col("closed").sum(),
    ).collect().row(0)
    respondents = frame.select("respondent").unique().sort("respondent").collect()["respondent"].to_list()
    metadata = [of_alike(polars.read_parquet_metadata(file)) for file in files]
    return View(columns, respondents, metadata, *sums)


def with_pyarrow(folder: Path, files: list[Path], task: Task) -> View:
    dataset = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive")
    log_prob = f"log_prob_{task.first}"
    table = dataset.to_table(columns=["triplet_id", log_prob, task.answer, task.first, "closed", "respondent"])
    metadata = [pyarrow.parquet.read_metadata(file).metadata or {} for file in files]
    metadata = [of_alike({key.decode(): value.decode() for key, value in pairs.items()}) for pairs in metadata]

    def total(values):
        return pyarrow.compute.sum(values, min_count=0).as_py()

    return View(
        columns=[(field.name, str(field.type)) for field in dataset.schema],
        respondents=sorted(table["respondent"].unique().to_pylist()),
        metadata=metadata,
        n_rows=table.num_rows,
        sum_triplet_id=total(table["triplet_id"]),
        sum_log_prob=total(pyarrow.compute.cast(table[log_prob], "float64")),
        n_first=total(pyarrow.compute.equal(table[task.answer], table[task.first])),
        n_closed=total(table["closed"]),
    )


def with_pandas(folder: Path, files: list[Path], task: Task) -> View:
    frame = pandas.read_parquet(folder, dtype_backend="pyarrow")
    names = {str(dtype): kind["pyarrow"] for kind in NAMES_OF_TYPES.values() for dtype in [pandas.ArrowDtype(ARROW[kind["pyarrow"]])]}
    partition = str(frame["respondent"].dtype.pyarrow_dtype.value_type)  # a category, as pyarrow makes of a partition for pandas
    columns = [(name, names.get(str(kind), partition if name == "respondent" else str(kind))) for name, kind in frame.dtypes.items()]
    return View(
        columns=columns,
        respondents=sorted(frame["respondent"].unique().tolist()),
        # pandas has no way of its own; its users ask pyarrow, which it reads with.
        metadata=[of_alike({key.decode(): value.decode() for key, value in pyarrow.parquet.read_metadata(file).metadata.items()})
                  for file in files],
        n_rows=len(frame),
        sum_triplet_id=int(frame["triplet_id"].sum()),
        sum_log_prob=float(frame[f"log_prob_{task.first}"].astype("double[pyarrow]").sum()),
        n_first=int((frame[task.answer] == frame[task.first]).sum()),
        n_closed=int(frame["closed"].sum()),
    )


READERS = {"duckdb": (with_duckdb, duckdb.__version__), "polars": (with_polars, polars.__version__),
           "pyarrow": (with_pyarrow, pyarrow.__version__), "pandas": (with_pandas, pandas.__version__)}
ARROW = {"int8": pyarrow.int8(), "int16": pyarrow.int16(), "int32": pyarrow.int32(), "int64": pyarrow.int64(),
         "float": pyarrow.float32(), "bool": pyarrow.bool_(), "string": pyarrow.string()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judgments", type=Path, nargs="+", help="folders that hold respondent=LABEL folders, of the same judgments")
    parser.add_argument("--spark", action="store_true", help="Spark too (pyspark and Java)")
    arguments = parser.parse_args()
    readers = dict(READERS)
    if arguments.spark:
        import spark

        readers["spark"] = (spark.view, spark.VERSION)
    try:
        views = [check(folder, readers) for folder in arguments.judgments]
        for folder, view in zip(arguments.judgments, views):
            same_rows(str(folder), view, str(arguments.judgments[0]), views[0])
    except (Disagreement, pruning.NotPruned) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def check(folder: Path, readers: dict) -> View:
    files = sorted(folder.glob("respondent=*/*.parquet"))
    if not files:
        raise Disagreement(f"{folder} holds no respondent=LABEL/*.parquet")
    task = ODD_ONE_OUT if "odd" in pyarrow.parquet.read_schema(files[0]).names else ANCHORED
    expected = sorted({file.parent.name.removeprefix("respondent=") for file in files})
    for file in files:  # readers take the columns of the first file they meet for those of all
        found = [(field.name, str(field.type)) for field in pyarrow.parquet.read_schema(file)]
        check_columns(str(file), found, [(name, NAMES_OF_TYPES[kind]["pyarrow"]) for name, kind in task.columns[:-1]])
    first = None
    for reader, (read, version) in readers.items():
        try:
            view = read(folder, files, task)
        except Exception as error:
            raise Disagreement(f"{reader} {version} cannot read {folder}: {error}") from error
        kinds = "pyarrow" if reader == "pandas" else reader
        check_columns(reader, view.columns, [(name, NAMES_OF_TYPES[kind][kinds]) for name, kind in task.columns])
        agree(reader, "respondents", view.respondents, "folder names", expected)
        for file, metadata in zip(files, view.metadata):
            agree(reader, f"keys of {file}", sorted(metadata), "alike", KEYS)
        first = first or (reader, view)
        agree(reader, "metadata", view.metadata, first[0], first[1].metadata)
        same_rows(reader, view, *first)
        print(f"{reader} {version}: {len(files)} files, {view.n_rows} rows, {len(view.columns)} columns, "
              f"sum log_prob_{task.first} {view.sum_log_prob:.6f}")
    anchor = task.columns[1][0]
    print(f"pruned: {pruning.check(folder, files, expected[0], anchor, 'spark' in readers)}")
    return first[1]


def same_rows(reader: str, view: View, other: str, expected: View) -> None:
    for name in ("respondents", "n_rows", "sum_triplet_id", "sum_log_prob", "n_first", "n_closed"):
        agree(reader, name, getattr(view, name), other, getattr(expected, name))


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
