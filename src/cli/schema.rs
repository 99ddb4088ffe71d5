//! `alike schema`: the columns of the tables that alike writes.

use alike::presentations::Task;
use alike::store::judgments::{self, Column};
use alike::store::manifest::SCHEMA_VERSION;
use alike::store::{bench, scores, triplets};
use clap::{Args, ValueEnum};

use crate::cli::{Common, tables};

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The table
    #[arg(value_enum, default_value_t = TableName::Judgments)]
    table: TableName,
}

/// The tables whose writers take their columns from a list.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum TableName {
    /// Anchored judgments: judgments/respondent=LABEL/*.parquet
    Judgments,
    /// Odd-one-out judgments: oddoneout/respondent=LABEL/*.parquet
    Oddoneout,
    /// Anchored triplets, as `alike sample` draws them
    Triplets,
    /// Odd-one-out triplets
    OddoneoutTriplets,
    /// What `alike score` writes
    Scores,
    /// What `alike bench` writes: bench.parquet, a row for each cell and repeat
    Bench,
}

impl TableName {
    fn columns(self) -> Vec<Column> {
        match self {
            Self::Judgments => judgments::columns(Task::Anchored),
            Self::Oddoneout => judgments::columns(Task::OddOneOut),
            Self::Triplets => triplets::columns(Task::Anchored),
            Self::OddoneoutTriplets => triplets::columns(Task::OddOneOut),
            Self::Scores => scores::columns(),
            Self::Bench => bench::columns(),
        }
    }
}

pub(crate) fn run(args: &SchemaArgs, common: &Common) {
    let columns = args.table.columns();
    let kind = |column: &Column| column.data_type.to_string().to_lowercase();
    if common.json {
        let name = args.table.to_possible_value().expect("no table is hidden").get_name().to_owned();
        let columns: Vec<_> = columns
            .iter()
            .map(|c| serde_json::json!({ "name": c.name, "type": kind(c), "nullable": c.nullable, "meaning": c.meaning }))
            .collect();
        println!("{}", serde_json::json!({ "table": name, "schema_version": SCHEMA_VERSION, "columns": columns }));
        return;
    }
    let rule = |column: &Column| if column.nullable { "may be null" } else { "never null" };
    let row = |c: &Column| vec![c.name.clone(), kind(c), rule(c).to_owned(), c.meaning.clone()];
    println!("{}", tables::table(&["column", "type", "null", "meaning"], columns.iter().map(row), 4));
}
