//! Function libraries (7.0).

use bytes::Bytes;

use crate::{resp::Command, sink::Loss};

use super::{
    DropReason, payload,
    scene::{Outcome, Scene, is},
};

/// `FUNCTION LOAD | DELETE | FLUSH | RESTORE ...`.
pub(super) fn function(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let subcommand = command.args().get(1);
    let takes_away = subcommand.is_some_and(|word| is(word, "DELETE") || is(word, "FLUSH"));
    if !scene.target.has_functions() {
        // What was never there need not be taken away.
        return match takes_away {
            true => Outcome::Dropped(DropReason::NothingToDo),
            false => Outcome::Lossy(Loss::Function),
        };
    }
    if subcommand.is_some_and(|word| is(word, "RESTORE")) {
        return payload::restore_functions(command, out);
    }
    Outcome::Unchanged
}

/// The name of the library that a FUNCTION LOAD brings: `#!lua name=<name>` in its first line.
pub(super) fn library_name(command: &Command) -> Option<Bytes> {
    let code = command.args().get(2..)?.last()?;
    let line = code.split(|byte| *byte == b'\n').next()?;
    let name = line
        .split(|byte| *byte == b' ')
        .find_map(|word| word.strip_prefix(b"name="))?;
    Some(code.slice_ref(name.trim_ascii_end()))
}
