"""What Spark makes of a data set. Its metadata is read with the Parquet library that Spark brings along."""

import os
import sys
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession
from view import Task, View, of_alike

VERSION = pyspark.__version__


def session() -> SparkSession:
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[2]").appName("alike")
    session = builder.config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "2").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def view(folder: Path, files: list[Path], task: Task) -> View:
    frame = session().read.parquet(str(folder.resolve()))
    frame.createOrReplaceTempView("judgments")
    (sums,) = session().sql(f"""SELECT count(*), sum(triplet_id), sum(double(log_prob_{task.first})),
                                       count_if({task.answer} = {task.first}), count_if(closed) FROM judgments""").collect()
    n_rows, ids, log_probs, *counts = sums
    respondents = [row[0] for row in session().sql("SELECT DISTINCT respondent FROM judgments ORDER BY 1").collect()]
    return View(frame.dtypes, respondents, [metadata(file) for file in files], n_rows, int(ids or 0), log_probs or 0.0, *counts)


def metadata(file: Path) -> dict[str, str]:
    java = session()._jvm
    path = java.org.apache.hadoop.fs.Path(str(file.resolve()))
    place = java.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(path, java.org.apache.hadoop.conf.Configuration())
    reader = java.org.apache.parquet.hadoop.ParquetFileReader.open(place)
    try:
        pairs = reader.getFileMetaData().getKeyValueMetaData()
        return of_alike({key: pairs.get(key) for key in pairs.keySet()})
    finally:
        reader.close()


def files_read(folder: Path, respondent: str, column: str, value: str) -> int:
    """Files that a scan with a filter opens, by the plan's own count."""
    frame = session().read.parquet(str(folder.resolve()))
    frame = frame.filter((frame["respondent"] == respondent) & (frame[column] == value))
    frame.collect()
    plan = frame._jdf.queryExecution().executedPlan()
    while not plan.nodeName().startswith("Scan"):
        plan = plan.finalPhysicalPlan() if hasattr(plan, "finalPhysicalPlan") and plan.nodeName() == "AdaptiveSparkPlan" else plan.children().head()
    return plan.metrics().get("numFiles").get().value()
