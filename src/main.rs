//! Runs the stand-in alone (this branch only).
use clap::Parser;

#[derive(Parser)]
enum Cli {
    Simulate(cordboard::simulator::cli::SimulateArgs),
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Cli::parse() {
        Cli::Simulate(args) => cordboard::simulator::run(args).await,
    }
}
