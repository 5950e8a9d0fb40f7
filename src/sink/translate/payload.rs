//! RESTORE and FUNCTION RESTORE in the stream.

use crate::resp::Command;

use super::scene::{Outcome, Scene};

pub(super) fn restore(_: &Scene<'_>, _: &Command, _: &mut Vec<Command>) -> Outcome {
    Outcome::Unchanged
}

pub(super) fn restore_functions(_: &Command, _: &mut Vec<Command>) -> Outcome {
    Outcome::Unchanged
}
