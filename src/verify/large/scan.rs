//! A collection of one side, page by page.

use bytes::Bytes;

use super::{LargeError, one::One, pace::Pace, replies};

/// Goes through a collection by SSCAN, HSCAN or ZSCAN, whose pages may be empty, and may repeat what
/// was on others.
#[derive(Debug)]
pub(super) struct Scan<'k> {
    command: &'static [u8],
    key: &'k Bytes,
    /// `None` behind the last page.
    cursor: Option<Bytes>,
    pace: Pace,
}

impl<'k> Scan<'k> {
    /// Before the first page.
    pub(super) fn new(command: &'static [u8], key: &'k Bytes) -> Scan<'k> {
        Scan {
            command,
            key,
            cursor: Some(Bytes::from_static(b"0")),
            pace: Pace::new(),
        }
    }

    /// The next page: members, or fields and values in turns.
    pub(super) async fn next(
        &mut self,
        one: &mut One<'_>,
    ) -> Result<Option<Vec<Bytes>>, LargeError> {
        let Some(cursor) = self.cursor.clone() else {
            return Ok(None);
        };
        loop {
            let count = self.pace.count().to_string();
            let words = [self.command, self.key, &cursor, b"COUNT", count.as_bytes()];
            let reply = one
                .ask_one_within(&words, self.pace.reply_bytes_max())
                .await?;
            let Some(reply) = reply else {
                self.pace.shrink();
                continue;
            };
            let page = replies::page(reply);
            let (cursor, page) = page.ok_or_else(|| one.odd("a SCAN of a collection"))?;
            self.pace
                .learn(page.len(), page.iter().map(Bytes::len).sum());
            self.cursor = Some(cursor).filter(|cursor| cursor != "0");
            return Ok(Some(page));
        }
    }
}
