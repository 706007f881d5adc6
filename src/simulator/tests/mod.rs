//! Whole calls over loopback against a small business of our own making.

mod business;
mod calls;
mod webhooks;
