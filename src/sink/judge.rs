//! What the replies to a request mean. Pure.

use crate::resp::{Reply, ReplyError, ReplyErrorKind, Retry};

use super::{
    batch::{Named, Request, Shape, Writes},
    checkpoint,
};

/// What became of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is done.
    Done,
    /// It is done, and the commands at these indices found nothing to do: the source, which had
    /// something, sends them only then.
    Diverged(Vec<usize>),
    /// It is done, and the checkpoint that was there before had been removed by somebody else.
    CheckpointDropped,
    /// Nothing was written: all fields had expired before the value got its name.
    Expired,
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
            Some(Reply::Error(error)) if says_exists(&error) => Verdict::KeyExists,
            Some(Reply::Error(error)) => refusal(0, error),
            Some(Reply::Bulk(None) | Reply::Int(0)) => Verdict::KeyExists,
            Some(_) => Verdict::Done,
            None => Verdict::Unexpected(0),
        },
        Shape::Transaction => {
            let idle = idle(request, replies.last());
            let dropped = request.finds_checkpoint && found_no_checkpoint(replies.last());
            match transaction(replies, false) {
                Verdict::Done if dropped => Verdict::CheckpointDropped,
                Verdict::Done if !idle.is_empty() => Verdict::Diverged(idle),
                verdict => verdict,
            }
        }
        Shape::TransactionIfAbsent => transaction(replies, true),
        Shape::ExpiringTransaction => or_expired(transaction(replies, false)),
        Shape::ExpiringTransactionIfAbsent => or_expired(transaction(replies, true)),
    }
}

/// MULTI answers OK, each command QUEUED, EXEC an array with one reply a command.
///
/// One refusal while queueing and EXEC discards the whole block, so all of it may be sent again.
/// Not so when MULTI itself is refused: the commands behind it were executed on their own.
fn transaction(replies: &mut Vec<Reply>, if_absent: bool) -> Verdict {
    let exec = replies.pop();
    let mut queue = replies.drain(..).enumerate();
    match queue.next() {
        Some((_, reply)) if reply.is_ok() => {}
        Some((_, Reply::Error(error))) => return Verdict::Refused(0, error),
        _ => return Verdict::Unexpected(0),
    }
    let mut refused_in_queue = None;
    for (index, reply) in queue {
        match reply {
            Reply::Error(error) => {
                refused_in_queue.get_or_insert((index - 1, error));
            }
            reply if reply.is_queued() => {}
            _ => return Verdict::Unexpected(index - 1),
        }
    }
    match (exec, refused_in_queue) {
        (Some(Reply::Error(_)), Some((index, error))) => refusal(index, error),
        (Some(Reply::Error(error)), None) => refusal(0, cause_of_abort(error)),
        (Some(Reply::Array(Some(results))), None) => executed(results, if_absent),
        (_, Some((index, error))) => Verdict::Refused(index, error),
        (_, None) => Verdict::Unexpected(0),
    }
}

/// Commands that a source sends to its replicas only when they change something there, and that
/// say so when they change nothing.
const SENT_WITH_EFFECT: &[&str] = &[
    "PEXPIREAT",
    "EXPIREAT",
    "PERSIST",
    "MOVE",
    "SMOVE",
    "RENAMENX",
    "COPY",
];

/// The commands of the stream that by EXEC's answer found nothing to do.
fn idle(request: &Request, exec: Option<&Reply>) -> Vec<usize> {
    let (Writes::Commands(_), Some(Reply::Array(Some(results)))) = (request.writes, exec) else {
        return Vec::new();
    };
    let is_idle = |(named, result): (&Named, &Reply)| match result {
        Reply::Int(0) => SENT_WITH_EFFECT
            .iter()
            .any(|command| named.command.eq_ignore_ascii_case(command.as_bytes())),
        // No such field.
        Reply::Array(Some(fields)) if named.command.eq_ignore_ascii_case(b"HPEXPIREAT") => {
            fields.contains(&Reply::Int(-2))
        }
        _ => false,
    };
    let pairs = request.commands.iter().zip(results).enumerate();
    pairs
        .filter_map(|(index, pair)| is_idle(pair).then_some(index))
        .collect()
}

/// Whether by EXEC's answer the HSET of the checkpoint, its last command, has made all fields.
fn found_no_checkpoint(exec: Option<&Reply>) -> bool {
    let Some(Reply::Array(Some(results))) = exec else {
        return false;
    };
    results.last() == Some(&Reply::Int(checkpoint::FIELDS as i64))
}

fn executed(results: Vec<Reply>, if_absent: bool) -> Verdict {
    if if_absent {
        // ... PEXPIREAT staging, RENAMENX staging key, UNLINK staging
        match results.as_slice() {
            [.., Reply::Int(0), _] => return Verdict::KeyExists,
            // The expiry has passed: PEXPIREAT itself has deleted the key, as it should.
            [.., Reply::Int(1), Reply::Error(error), _] if error.text.contains("no such key") => {
                return Verdict::Done;
            }
            _ => {}
        }
    }
    let refused = results
        .into_iter()
        .enumerate()
        .find_map(|(index, reply)| match reply {
            Reply::Error(error) => Some((index, error)),
            _ => None,
        });
    match refused {
        // What stood beside it was executed: the same bytes must not be sent again.
        Some((index, error)) => Verdict::Refused(index, error),
        None => Verdict::Done,
    }
}

/// Of the commands that write a hash, only the one that gives it its name says this.
fn or_expired(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Refused(_, error) if error.text.contains("no such key") => Verdict::Expired,
        verdict => verdict,
    }
}

/// EXEC itself can be refused, and says why behind the code word (redis 6.0 multi.c
/// execCommandAbort): `EXECABORT Transaction discarded because of: OOM command not allowed ...`.
fn cause_of_abort(error: ReplyError) -> ReplyError {
    match error.text.split_once("because of: ") {
        Some((_, cause)) => ReplyError::parse(cause.as_bytes()),
        None => error,
    }
}

/// RESTORE has a code for it, FUNCTION LOAD only says it in words (redis 7.0 functions.c
/// functionsCreateWithLibraryCtx).
fn says_exists(error: &ReplyError) -> bool {
    error.kind == ReplyErrorKind::BusyKey || error.text.ends_with("already exists")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::batch::Commands;

    fn request(shape: Shape, commands: usize) -> Request {
        let named = Named {
            command: "SET".into(),
            key: "k".into(),
            offset: None,
        };
        Request {
            end: 0,
            shape,
            commands: Commands::Many(vec![named; commands]),
            writes: Writes::Part,
            db: crate::keyspace::Db(0),
            mark: None,
            finds_checkpoint: false,
        }
    }

    fn error(text: &str) -> Reply {
        Reply::Error(ReplyError::parse(text.as_bytes()))
    }

    fn ok() -> Reply {
        Reply::Simple("OK".into())
    }

    fn queued() -> Reply {
        Reply::Simple("QUEUED".into())
    }

    const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
    const WRONGTYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
    const EXECABORT: &str = "EXECABORT Transaction discarded because of previous errors.";
    const BUSYKEY: &str = "BUSYKEY Target key name already exists.";
    const LIBRARY: &str = "ERR Library 'mylib' already exists";

    #[test]
    fn commands_of_the_stream_that_find_nothing_are_told_apart() {
        let commands = ["SET", "PEXPIREAT", "DEL", "PEXPIREAT", "HPEXPIREAT"].map(|name| Named {
            command: name.into(),
            key: "k".into(),
            offset: Some(7),
        });
        let results = [
            ok(),
            Reply::Int(0),
            Reply::Int(0),
            Reply::Int(1),
            Reply::Array(Some(vec![Reply::Int(1), Reply::Int(-2)])),
        ];
        let exec = Reply::Array(Some(results.to_vec()));
        let replies: Vec<Reply> = std::iter::once(ok())
            .chain(results.iter().map(|_| queued()))
            .chain([exec])
            .collect();
        let mut request = request(Shape::Transaction, 0);
        request.commands = Commands::Many(commands.to_vec());
        assert_eq!(judge(&request, &mut replies.clone()), Verdict::Done);
        request.writes = Writes::Commands(5);
        let verdict = judge(&request, &mut replies.clone());
        assert_eq!(verdict, Verdict::Diverged(vec![1, 4]));
    }

    #[test]
    fn a_checkpoint_that_is_made_anew_had_been_dropped() {
        for (finds_checkpoint, made, verdict) in [
            (true, checkpoint::FIELDS as i64, Verdict::CheckpointDropped),
            (false, checkpoint::FIELDS as i64, Verdict::Done),
            (true, 0, Verdict::Done),
            // By another version of keyferry, with fewer fields.
            (true, 1, Verdict::Done),
        ] {
            let mut request = request(Shape::Transaction, 2);
            request.finds_checkpoint = finds_checkpoint;
            let exec = Reply::Array(Some(vec![ok(), Reply::Int(made)]));
            let mut replies = vec![ok(), queued(), queued(), exec];
            assert_eq!(judge(&request, &mut replies), verdict, "{made}");
        }
    }

    #[test]
    fn replies_mean_what_the_shape_says() {
        use Shape::{IfAbsent, Plain, Transaction, TransactionIfAbsent};
        let null = Reply::Bulk(None);
        let exec = |replies: &[Reply]| Reply::Array(Some(replies.to_vec()));
        let again = |text: &str| Verdict::Again(ReplyError::parse(text.as_bytes()));
        let refused = |at, text: &str| Verdict::Refused(at, ReplyError::parse(text.as_bytes()));
        let one = Reply::Int(1);
        let zero = Reply::Int(0);
        for (name, shape, replies, verdict) in [
            ("set", Plain, vec![ok()], Verdict::Done),
            (
                "an integer of 0 is no refusal",
                Plain,
                vec![zero.clone()],
                Verdict::Done,
            ),
            (
                "a null is none either",
                Plain,
                vec![null.clone()],
                Verdict::Done,
            ),
            ("oom", Plain, vec![error(OOM)], again(OOM)),
            (
                "wrong type",
                Plain,
                vec![error(WRONGTYPE)],
                refused(0, WRONGTYPE),
            ),
            (
                "a busy key where it is not expected",
                Plain,
                vec![error(BUSYKEY)],
                refused(0, BUSYKEY),
            ),
            ("set nx", IfAbsent, vec![ok()], Verdict::Done),
            (
                "set nx of a key that exists",
                IfAbsent,
                vec![null],
                Verdict::KeyExists,
            ),
            (
                "restore of one",
                IfAbsent,
                vec![error(BUSYKEY)],
                Verdict::KeyExists,
            ),
            (
                "a library that exists",
                IfAbsent,
                vec![error(LIBRARY)],
                Verdict::KeyExists,
            ),
            ("restore, oom", IfAbsent, vec![error(OOM)], again(OOM)),
            (
                "a transaction",
                Transaction,
                vec![ok(), queued(), queued(), exec(&[ok(), zero.clone()])],
                Verdict::Done,
            ),
            (
                "one refused in the queue",
                Transaction,
                vec![ok(), queued(), error(OOM), error(EXECABORT)],
                again(OOM),
            ),
            (
                "one refused for good in the queue",
                Transaction,
                vec![
                    ok(),
                    queued(),
                    error("ERR unknown command 'FOO'"),
                    error(EXECABORT),
                ],
                refused(1, "ERR unknown command 'FOO'"),
            ),
            (
                "one refused while executing: the other was executed",
                Transaction,
                vec![ok(), queued(), queued(), exec(&[ok(), error(WRONGTYPE)])],
                refused(1, WRONGTYPE),
            ),
            (
                "oom while executing must not be sent again",
                Transaction,
                vec![ok(), queued(), queued(), exec(&[error(OOM), ok()])],
                refused(0, OOM),
            ),
            (
                "executed although one was refused",
                Transaction,
                vec![ok(), error(OOM), queued(), exec(&[ok()])],
                refused(0, OOM),
            ),
            (
                "exec itself refused",
                Transaction,
                vec![
                    ok(),
                    queued(),
                    queued(),
                    error("LOADING Redis is loading the dataset in memory"),
                ],
                again("LOADING Redis is loading the dataset in memory"),
            ),
            (
                "exec refused for want of memory",
                Transaction,
                vec![
                    ok(),
                    queued(),
                    queued(),
                    error(&format!(
                        "EXECABORT Transaction discarded because of: {OOM}"
                    )),
                ],
                again(OOM),
            ),
            (
                "multi refused: what stands behind it was executed",
                Transaction,
                vec![error(OOM), ok(), ok(), error("ERR EXEC without MULTI")],
                refused(0, OOM),
            ),
            (
                "executed instead of queued",
                Transaction,
                vec![ok(), queued(), one.clone(), exec(&[])],
                Verdict::Unexpected(1),
            ),
            (
                "no array",
                Transaction,
                vec![ok(), queued(), queued(), Reply::Array(None)],
                Verdict::Unexpected(0),
            ),
            (
                "renamed",
                TransactionIfAbsent,
                vec![ok(), queued(), queued(), exec(&[one, zero.clone()])],
                Verdict::Done,
            ),
            (
                "expired before it was renamed",
                TransactionIfAbsent,
                vec![
                    ok(),
                    queued(),
                    queued(),
                    exec(&[Reply::Int(1), error("ERR no such key"), zero.clone()]),
                ],
                Verdict::Done,
            ),
            (
                "gone before it was renamed",
                TransactionIfAbsent,
                vec![
                    ok(),
                    queued(),
                    queued(),
                    exec(&[zero.clone(), error("ERR no such key"), zero.clone()]),
                ],
                refused(1, "ERR no such key"),
            ),
            (
                "all its fields expired",
                Shape::ExpiringTransactionIfAbsent,
                vec![
                    ok(),
                    queued(),
                    queued(),
                    exec(&[zero.clone(), error("ERR no such key"), zero.clone()]),
                ],
                Verdict::Expired,
            ),
            (
                "all its fields expired before it replaced another",
                Shape::ExpiringTransaction,
                vec![
                    ok(),
                    queued(),
                    queued(),
                    exec(&[Reply::Int(1), error("ERR no such key")]),
                ],
                Verdict::Expired,
            ),
            (
                "refused for another reason",
                Shape::ExpiringTransaction,
                vec![ok(), queued(), queued(), exec(&[ok(), error(WRONGTYPE)])],
                refused(1, WRONGTYPE),
            ),
            (
                "not renamed",
                TransactionIfAbsent,
                vec![ok(), queued(), queued(), exec(&[zero, Reply::Int(1)])],
                Verdict::KeyExists,
            ),
        ] {
            let request = request(shape, 2);
            let mut replies = replies;
            assert_eq!(judge(&request, &mut replies), verdict, "{name}");
            assert!(replies.is_empty(), "{name}");
        }
    }

    #[test]
    fn names_the_command_that_was_refused() {
        let request = request(Shape::Transaction, 2);
        assert_eq!(named(&request, 1).to_string(), "SET \"k\"");
        assert_eq!(named(&request, 9).to_string(), "SET \"k\"");
        let none = self::request(Shape::Transaction, 0);
        assert_eq!(named(&none, 0).to_string(), "EXEC");
    }
}
