//! One of the two sides.

use crate::{
    keyspace::Db,
    resp::{Reply, ReplyError, ReplyErrorKind},
    verify::{
        abilities::Abilities,
        error::{ErrorKind, Side},
        peer::{Peer, Request},
    },
};

use super::LargeError;

/// A connection, and the db in which the key is there.
#[derive(Debug)]
pub(super) struct One<'p> {
    pub(super) peer: &'p mut Peer,
    pub(super) db: Db,
    pub(super) can: Abilities,
}

impl One<'_> {
    /// Asks for a reply to each command of the request; none of them is an error.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Vec<Reply>, LargeError> {
        let replies = self.peer.ask(self.db, request).await;
        self.checked(replies.map_err(LargeError::Failed)?)
    }

    /// As [`One::ask`]; `None` when a reply is longer than this many bytes.
    pub(super) async fn ask_within(
        &mut self,
        request: Request,
        reply_bytes_max: usize,
    ) -> Result<Option<Vec<Reply>>, LargeError> {
        let replies = self.peer.ask_within(self.db, request, reply_bytes_max);
        match replies.await.map_err(LargeError::Failed)? {
            Some(replies) => self.checked(replies).map(Some),
            None => Ok(None),
        }
    }

    /// Asks for a single reply.
    pub(super) async fn ask_one_within(
        &mut self,
        words: &[&[u8]],
        reply_bytes_max: usize,
    ) -> Result<Option<Reply>, LargeError> {
        let mut request = Request::default();
        request.add(words);
        let replies = self.ask_within(request, reply_bytes_max).await?;
        Ok(replies.and_then(|mut replies| replies.pop()))
    }

    /// Asks for an integer.
    pub(super) async fn ask_int(&mut self, words: &[&[u8]]) -> Result<i64, LargeError> {
        let mut request = Request::default();
        request.add(words);
        match self.ask(request).await?.pop() {
            Some(Reply::Int(value)) => Ok(value),
            _ => Err(self.odd("a question for a number")),
        }
    }

    /// The server answered `what` with something that it cannot have.
    pub(super) fn odd(&self, what: &'static str) -> LargeError {
        LargeError::Failed(self.peer.error(ErrorKind::Answer(what)))
    }

    fn checked(&self, replies: Vec<Reply>) -> Result<Vec<Reply>, LargeError> {
        let error = replies.iter().find_map(|reply| match reply {
            Reply::Error(error) => Some(error),
            _ => None,
        });
        error.map_or(Ok(()), |error| Err(judged(self.peer.side(), error)))?;
        Ok(replies)
    }
}

/// What an error reply says about the value.
fn judged(side: Side, error: &ReplyError) -> LargeError {
    let is_gone = match &error.kind {
        ReplyErrorKind::WrongType => true,
        // XINFO and XPENDING, of a key or a group that is gone.
        ReplyErrorKind::Other => error.code() == "NOGROUP" || &*error.text == "ERR no such key",
        _ => false,
    };
    if is_gone {
        return LargeError::Moved;
    }
    LargeError::Unreadable(side, error.clone())
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
                LargeError::Moved => assert!(is_gone, "{text}"),
                LargeError::Unreadable(side, error) => {
                    assert!(!is_gone, "{text}");
                    assert_eq!((side, &*error.text), (Side::Target, text));
                }
                LargeError::Failed(error) => panic!("{text}: {error}"),
            }
        }
    }
}
