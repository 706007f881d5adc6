//! The program: the command line is read in [`cordboard::io::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cordboard::io::cli::run()
}
