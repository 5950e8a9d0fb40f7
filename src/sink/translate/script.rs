//! Scripts, which sources up to 6.2 have in their stream.
//!
//! SCRIPT LOAD is forwarded: sources up to 4.0 send `EVALSHA` of what was loaded, and clients rely
//! on loaded scripts after the cutover. EVAL and EVALSHA pass unchanged: what a script of such a
//! source does is not looked into, so the expiries it gives are neither absolute nor held.

use crate::resp::Command;

use super::{
    DropReason,
    scene::{Outcome, Scene, is},
};

/// `SCRIPT LOAD script | FLUSH [ASYNC | SYNC]`.
pub(super) fn script(_: &Scene<'_>, command: &Command, _: &mut Vec<Command>) -> Outcome {
    match command.args() {
        [_, word, ..] if is(word, "FLUSH") => Outcome::Dropped(DropReason::ScriptFlush),
        _ => Outcome::Unchanged,
    }
}
