//! Messages.

use crate::{resp::Command, sink::Publish};

use super::{
    DropReason,
    scene::{Outcome, Scene},
};

/// The channel on which Sentinels announce themselves through the servers they watch.
const SENTINEL_CHANNEL: &[u8] = b"__sentinel__:hello";

/// `PUBLISH channel message`.
pub(super) fn publish(scene: &Scene<'_>, command: &Command, _: &mut Vec<Command>) -> Outcome {
    if command.arg(1) == SENTINEL_CHANNEL {
        return Outcome::Dropped(DropReason::SentinelHello);
    }
    match scene.publish {
        Publish::Forward => Outcome::Unchanged,
        Publish::Drop => Outcome::Dropped(DropReason::PublishPolicy),
    }
}

/// `SPUBLISH channel message` (7.0). Nobody can listen to such a channel on an older target, and
/// subscribers of PUBLISH would not hear it, so there it is left out.
pub(super) fn spublish(scene: &Scene<'_>, _: &Command, _: &mut Vec<Command>) -> Outcome {
    match scene.publish {
        Publish::Drop => Outcome::Dropped(DropReason::PublishPolicy),
        Publish::Forward if scene.target.has_common(7, 0) => Outcome::Unchanged,
        Publish::Forward => Outcome::Dropped(DropReason::NobodyListens),
    }
}
