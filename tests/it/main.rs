//! The integration tests: one binary, so that they link once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod calls_phone;
mod calls_random;
mod calls_ring_plan;
mod calls_user;
mod config;
mod config_features;
mod config_ring_plan;
mod fuzz;
mod media_stories;
mod metrics;
mod privacy;
mod readme;
mod sources;
mod tidy;
mod toll_fraud;
mod world;
