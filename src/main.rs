//! The `alike` program: parse, dispatch, print the error, choose the exit code.
#![allow(clippy::print_stdout, reason = "a program prints its results")]

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    alike::guard::quiet();
    let cli = cli::Cli::parse();
    cli::logging(&cli.common);
    let log_format = cli.common.log_format;
    cli::stop::listen();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::tell(&error, log_format);
            match error.chain().any(|cause| matches!(cause.downcast_ref(), Some(alike::Error::Stopped { .. }))) {
                true => ExitCode::from(cli::stop::STOPPED),
                false => ExitCode::FAILURE,
            }
        }
    }
}
