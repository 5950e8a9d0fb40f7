//! What `keyferry verify` is relied on for: it finds what differs, all of it, once, by its name; it finds
//! nothing else; and it comes to a right verdict whatever happens meanwhile.
//!
//! What differs is planted by the tests (`support/mutation.rs`), which know it without asking
//! keyferry; that two sides are equal is what `keyferry sync` and the oracle make sure of.

use std::time::Duration;

use crate::support::{keyferry::Keyferry, server::Server};

mod contract;
mod equal;
mod gentle;
mod load;
mod looks;
mod mutations;
mod repair;
mod reports;
mod resumed;
mod robust;
mod snapshot;

const SOON: Duration = Duration::from_secs(120);

/// Writes to the target what the source has.
fn copy(source: &Server, target: &Server) {
    let urls = [source.url(), target.url()];
    let args = ["sync", "--source", &urls[0], "--target", &urls[1]];
    let mode = ["--mode", "full", "--json"];
    Keyferry::run(&[&args[..], &mode].concat(), SOON).assert_code(0);
}
