//! The integration tests: one binary, so that they link once.

mod config;
mod privacy;
mod readme;
mod sources;
mod tidy;
