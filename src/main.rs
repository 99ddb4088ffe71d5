//! The `alike` program: parse, dispatch, print the error, choose the exit code.
#![allow(clippy::print_stdout, reason = "a program prints its results")]

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli::logging(&cli.common);
    cli::stop::listen();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  caused by: {cause}");
            }
            let hint = error.chain().find_map(|cause| cause.downcast_ref::<alike::Error>()?.hint());
            if let Some(hint) = hint {
                eprintln!("hint: {hint}");
            }
            match error.chain().any(|cause| matches!(cause.downcast_ref(), Some(alike::Error::Stopped { .. }))) {
                true => ExitCode::from(cli::stop::STOPPED),
                false => ExitCode::FAILURE,
            }
        }
    }
}
