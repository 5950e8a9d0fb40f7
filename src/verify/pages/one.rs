//! One of the two sides, asked about a value.

use bytes::Bytes;

use crate::{
    keyspace::Db,
    rdb::KeyType,
    resp::{Reply, ReplyError, ReplyErrorKind},
    verify::{
        Error,
        abilities::Abilities,
        error::{ErrorKind, Side},
        peer::{Peer, Request},
    },
};

use super::replies;

/// A connection, and the db in which the key is there.
#[derive(Debug)]
pub(in crate::verify) struct One<'p> {
    pub(in crate::verify) peer: &'p mut Peer,
    pub(in crate::verify) db: Db,
    pub(in crate::verify) can: Abilities,
}

/// Why a value could not be read.
#[derive(Debug)]
pub enum ValueError {
    /// The key is gone or has another type than at first.
    Moved,
    /// It cannot be read, and why: a server refuses it, or answers what nobody can decode.
    Unreadable(Side, String),
    /// A server failed.
    Failed(Error),
}

impl One<'_> {
    /// The type of the value under a key; `None` when there is none.
    pub(in crate::verify) async fn value_type(
        &mut self,
        key: &Bytes,
    ) -> Result<Option<KeyType>, ValueError> {
        let mut request = Request::default();
        request.add(&[b"TYPE", key]);
        match self.ask(request).await?.pop() {
            Some(Reply::Simple(name)) => Ok(replies::named_type(&name)),
            _ => Err(self.odd("TYPE")),
        }
    }

    /// Makes sure that a key has a value of this type, which was read meanwhile.
    ///
    /// # Errors
    /// [`ValueError::Moved`] when it does not.
    pub(in crate::verify) async fn still_has(
        &mut self,
        key: &Bytes,
        value_type: KeyType,
    ) -> Result<(), ValueError> {
        match self.value_type(key).await? == Some(value_type) {
            true => Ok(()),
            false => Err(ValueError::Moved),
        }
    }

    /// The payload of the value under a key; `None` when there is none.
    pub(in crate::verify) async fn dump(
        &mut self,
        key: &Bytes,
    ) -> Result<Option<Bytes>, ValueError> {
        match self.ask_one_within(&[b"DUMP", key], usize::MAX).await? {
            Some(reply) => replies::nullable(reply).ok_or_else(|| self.odd("DUMP")),
            None => Err(self.unreadable(&"it is longer than any reply that is read")),
        }
    }

    /// Asks for a reply to each command of the request; none of them is an error.
    pub(in crate::verify) async fn ask(
        &mut self,
        request: Request,
    ) -> Result<Vec<Reply>, ValueError> {
        let replies = self.peer.ask(self.db, request).await;
        self.checked(replies.map_err(ValueError::Failed)?)
    }

    /// As [`One::ask`]; `None` when a reply is longer than this many bytes.
    pub(in crate::verify) async fn ask_within(
        &mut self,
        request: Request,
        reply_bytes_max: usize,
    ) -> Result<Option<Vec<Reply>>, ValueError> {
        let replies = self.peer.ask_within(self.db, request, reply_bytes_max);
        match replies.await.map_err(ValueError::Failed)? {
            Some(replies) => self.checked(replies).map(Some),
            None => Ok(None),
        }
    }

    /// Asks for a single reply.
    pub(in crate::verify) async fn ask_one_within(
        &mut self,
        words: &[&[u8]],
        reply_bytes_max: usize,
    ) -> Result<Option<Reply>, ValueError> {
        let mut request = Request::default();
        request.add(words);
        let replies = self.ask_within(request, reply_bytes_max).await?;
        Ok(replies.and_then(|mut replies| replies.pop()))
    }

    /// Asks for an integer.
    pub(in crate::verify) async fn ask_int(&mut self, words: &[&[u8]]) -> Result<i64, ValueError> {
        let mut request = Request::default();
        request.add(words);
        match self.ask(request).await?.pop() {
            Some(Reply::Int(value)) => Ok(value),
            _ => Err(self.odd("a question for a number")),
        }
    }

    /// The server answered `what` with something that it cannot have.
    pub(in crate::verify) fn odd(&self, what: &'static str) -> ValueError {
        ValueError::Failed(self.peer.error(ErrorKind::Answer(what)))
    }

    /// The payload of a value cannot be read, although the server does not refuse it.
    pub(in crate::verify) fn unreadable(&self, why: &dyn std::fmt::Display) -> ValueError {
        let why = format!("the payload of DUMP is unreadable: {why}");
        ValueError::Unreadable(self.peer.side(), why)
    }

    fn checked(&self, replies: Vec<Reply>) -> Result<Vec<Reply>, ValueError> {
        let error = replies.iter().find_map(|reply| match reply {
            Reply::Error(error) => Some(error),
            _ => None,
        });
        error.map_or(Ok(()), |error| Err(judged(self.peer.side(), error)))?;
        Ok(replies)
    }
}

/// What an error reply says about the value.
fn judged(side: Side, error: &ReplyError) -> ValueError {
    let is_gone = match &error.kind {
        ReplyErrorKind::WrongType => true,
        // XINFO and XPENDING, of a key or a group that is gone.
        ReplyErrorKind::Other => error.code() == "NOGROUP" || &*error.text == "ERR no such key",
        _ => false,
    };
    if is_gone {
        return ValueError::Moved;
    }
    ValueError::Unreadable(side, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_that_a_value_is_gone_or_refused() {
        for (text, is_gone) in [
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                true,
            ),
            ("ERR no such key", true),
            ("NOGROUP No such key 's' or consumer group 'g'", true),
            (
                "NOPERM this user has no permissions to run the 'dump' command",
                false,
            ),
            ("MOVED 3999 127.0.0.1:6381", false),
            (
                "ERR unknown command 'VEMB', with args beginning with: 'v' ",
                false,
            ),
            ("ERR no such keyspace", false),
        ] {
            let error = judged(Side::Target, &ReplyError::parse(text.as_bytes()));
            match error {
                ValueError::Moved => assert!(is_gone, "{text}"),
                ValueError::Unreadable(side, why) => {
                    assert!(!is_gone, "{text}");
                    assert_eq!((side, &*why), (Side::Target, text));
                }
                ValueError::Failed(error) => panic!("{text}: {error}"),
            }
        }
    }
}
