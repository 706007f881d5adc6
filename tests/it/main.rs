//! The integration tests: one binary, so that they link once.

mod config;
mod privacy;
mod sources;
mod tidy;
