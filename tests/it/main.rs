//! The integration tests: one binary, so that they link once.

mod calls_user;
mod config;
mod privacy;
mod sources;
mod tidy;
mod world;
