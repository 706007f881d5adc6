//! `cordboard draw`: charts in JSON to SVG, for the scripts that measure.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, complain};
use crate::io::chart::{self, Chart};

/// Draws line charts.
#[derive(Debug, Args)]
pub struct DrawArgs {
    /// A JSON list of charts: title, x and y with label and scale (linear or logarithmic), series with name and points.
    #[arg(value_name = "CHARTS.json")]
    input: PathBuf,
    /// The picture.
    #[arg(value_name = "OUT.svg")]
    output: PathBuf,
}

pub(super) fn draw(args: &DrawArgs) -> Exit {
    let text = match fs::read_to_string(&args.input) {
        Ok(text) => text,
        Err(error) => {
            complain(format_args!("{}: {error}", args.input.display()));
            return Exit::Usage;
        }
    };
    let charts: Vec<Chart> = match serde_json::from_str(&text) {
        Ok(charts) => charts,
        Err(error) => {
            complain(format_args!("{}: {error}", args.input.display()));
            return Exit::Usage;
        }
    };
    match fs::write(&args.output, chart::to_svg(&charts)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(format_args!("{}: {error}", args.output.display()));
            Exit::Unavailable
        }
    }
}
