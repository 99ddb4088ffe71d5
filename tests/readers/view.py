"""What is compared between readers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A data set's columns as src/store/judgments/columns.rs lists them (the readers add the partition key at the end), the
    column of the answer, and that of the option shown first."""

    columns: list[tuple[str, str]]
    answer: str
    first: str


@dataclass
class View:
    """What one reader makes of the data set."""

    columns: list[tuple[str, str]]
    respondents: list[str]
    metadata: list[dict[str, str]]  # alike's keys, one per file
    n_rows: int
    sum_triplet_id: int
    sum_log_prob: float  # of the option shown first
    n_first: int  # answers that name it
    n_closed: int


def of_alike(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key.startswith("alike.")}
