//! The integration tests: one binary, so that they link once.

mod calls_phone;
mod calls_random;
mod calls_user;
mod config;
mod media_stories;
mod privacy;
mod readme;
mod sources;
mod tidy;
mod world;
