//! What a rule is shown, what it answers, and the words rules share.

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    rdb,
    resp::Command,
    sink::{Hold, Loss, Publish, Target, line::Line},
};

use super::DropReason;

/// A rule: reads one command, appends what the target is to execute for it.
pub(super) type Rule = for<'a> fn(&Scene<'a>, &Command, &mut Vec<Command>) -> Outcome;

/// What a rule made of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It passes as it is; nothing was appended.
    Unchanged,
    /// What was appended says the same.
    Rewritten,
    /// Nothing was appended.
    Dropped(DropReason),
    /// What was appended, perhaps nothing, says the same but for this.
    Lossy(Loss),
    /// It carries a value that cannot be read.
    Unreadable(rdb::Error),
}

/// Everything a rule may depend on.
pub(super) struct Scene<'a> {
    pub(super) target: &'a Target,
    pub(super) hold: Hold,
    pub(super) publish: Publish,
    pub(super) received_at_ms: UnixMs,
    pub(super) db: Db,
}

impl Scene<'_> {
    /// The key expiry to write for a true one, as options take it: 0 and less are refused there.
    pub(super) fn written(&self, expire_at_ms: UnixMs) -> UnixMs {
        self.hold.apply(expire_at_ms).max(1)
    }

    /// The point in time that lies `ttl_ms` after the command was received.
    pub(super) fn after(&self, ttl_ms: i64) -> UnixMs {
        self.received_at_ms.saturating_add(ttl_ms)
    }

    /// Reads an expiry option (EX, PX, EXAT, PXAT) and its time; the true expiry.
    ///
    /// `None` when it is none of these, or the time is not a number.
    pub(super) fn expiry_option(&self, option: &Bytes, time: &Bytes) -> Option<UnixMs> {
        let ms = if is(option, "PX") {
            self.after(number(time)?)
        } else if is(option, "PXAT") {
            number(time)?
        } else if is(option, "EX") {
            self.after(number(time)?.saturating_mul(1000))
        } else if is(option, "EXAT") {
            number(time)?.saturating_mul(1000)
        } else {
            return None;
        };
        Some(ms)
    }
}

/// Whether an argument is a word of the syntax, in any case.
pub(super) fn is(arg: &Bytes, word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// Whether an argument is one of the words, in any case.
pub(super) fn is_any(arg: &Bytes, words: &[&str]) -> bool {
    words.iter().any(|word| is(arg, word))
}

/// An argument as a number.
pub(super) fn number(arg: &Bytes) -> Option<i64> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}

/// A script run over declared keys.
pub(super) fn eval<'a>(
    script: &'static str,
    keys: impl IntoIterator<Item = &'a Bytes>,
    args: impl IntoIterator<Item = &'a Bytes>,
) -> Command {
    let keys: Vec<&Bytes> = keys.into_iter().collect();
    Line::new("EVAL")
        .word(script)
        .text(keys.len())
        .args(keys)
        .args(args)
        .done()
}
