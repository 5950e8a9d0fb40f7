//! What the replies to a request mean. Pure.

use crate::resp::{Reply, ReplyError, ReplyErrorKind, Retry};

use super::batch::{Named, Request, Shape};

/// What became of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is done.
    Done,
    /// Nothing was done because the key exists.
    KeyExists,
    /// Nothing was done, and the same bytes may be sent again.
    Again(ReplyError),
    /// The command at this index was refused for good.
    Refused(usize, ReplyError),
    /// The reply to the command at this index is of a kind that it cannot have.
    Unexpected(usize),
}

/// Judges `replies`, which are as many as [`Request::replies`] says.
pub(super) fn judge(request: &Request, replies: &mut Vec<Reply>) -> Verdict {
    match request.shape {
        Shape::Plain => match replies.pop() {
            Some(Reply::Error(error)) => refusal(0, error),
            Some(_) => Verdict::Done,
            None => Verdict::Unexpected(0),
        },
        Shape::IfAbsent => match replies.pop() {
            Some(Reply::Error(error)) if error.kind == ReplyErrorKind::BusyKey => {
                Verdict::KeyExists
            }
            Some(Reply::Error(error)) => refusal(0, error),
            Some(Reply::Bulk(None) | Reply::Int(0)) => Verdict::KeyExists,
            Some(_) => Verdict::Done,
            None => Verdict::Unexpected(0),
        },
        Shape::Transaction => transaction(replies, false),
        Shape::TransactionIfAbsent => transaction(replies, true),
    }
}

/// MULTI answers OK, each command QUEUED, EXEC an array with one reply a command.
///
/// One refusal while queueing and EXEC discards the whole block. Redis up to 5.0 executes the
/// rest of the block all the same after some refusals, so those never count as "again" there;
/// targets start at 6.0.
fn transaction(replies: &mut Vec<Reply>, if_absent: bool) -> Verdict {
    let exec = replies.pop();
    let refused_in_queue = replies
        .drain(..)
        .enumerate()
        .find_map(|(index, reply)| match reply {
            // The reply at 0 is MULTI's own.
            Reply::Error(error) => Some((index.saturating_sub(1), error)),
            _ => None,
        });
    match (exec, refused_in_queue) {
        (Some(Reply::Error(_)), Some((index, error))) => refusal(index, error),
        (Some(Reply::Error(error)), None) => refusal(0, error),
        (Some(Reply::Array(Some(results))), None) => executed(results, if_absent),
        (_, Some((index, error))) => Verdict::Refused(index, error),
        (_, None) => Verdict::Unexpected(0),
    }
}

fn executed(results: Vec<Reply>, if_absent: bool) -> Verdict {
    let renamed = results.len().wrapping_sub(2);
    let exists = if_absent && results.get(renamed) == Some(&Reply::Int(0));
    for (index, reply) in results.into_iter().enumerate() {
        if let Reply::Error(error) = reply {
            // What stood beside it was executed: the same bytes must not be sent again.
            return Verdict::Refused(index, error);
        }
    }
    if exists {
        Verdict::KeyExists
    } else {
        Verdict::Done
    }
}

fn refusal(index: usize, error: ReplyError) -> Verdict {
    match error.kind.retry() {
        Retry::SameBytes => Verdict::Again(error),
        Retry::AfterReconnect | Retry::Never => Verdict::Refused(index, error),
    }
}

/// Names the command at `index` of a request.
pub(super) fn named(request: &Request, index: usize) -> Named {
    match request.commands.get(index).or(request.commands.last()) {
        Some(named) => named.clone(),
        None => Named {
            command: "EXEC".into(),
            key: bytes::Bytes::new(),
            offset: None,
        },
    }
}
