//! A collection of one side, page by page.

use bytes::Bytes;

use super::{One, PageSize, ValueError, replies};

/// Goes through a collection by SSCAN, HSCAN or ZSCAN, whose pages may be empty, and may repeat what
/// was on others.
#[derive(Debug)]
pub(in crate::verify) struct Scan {
    command: &'static [u8],
    key: Bytes,
    /// `None` behind the last page.
    cursor: Option<Bytes>,
    size: PageSize,
}

impl Scan {
    /// Before the first page.
    pub(in crate::verify) fn new(command: &'static [u8], key: &Bytes) -> Scan {
        Scan {
            command,
            key: key.clone(),
            cursor: Some(Bytes::from_static(b"0")),
            size: PageSize::new(),
        }
    }

    /// The next page: members, or fields and values in turns.
    pub(in crate::verify) async fn next(
        &mut self,
        one: &mut One<'_>,
    ) -> Result<Option<Vec<Bytes>>, ValueError> {
        let Some(cursor) = self.cursor.clone() else {
            return Ok(None);
        };
        loop {
            let count = self.size.count().to_string();
            let words = [self.command, &self.key, &cursor, b"COUNT", count.as_bytes()];
            let reply = one
                .ask_one_within(&words, self.size.reply_bytes_max())
                .await?;
            let Some(reply) = reply else {
                self.size.shrink();
                continue;
            };
            let page = replies::page(reply);
            let (cursor, page) = page.ok_or_else(|| one.odd("a SCAN of a collection"))?;
            self.size
                .learn(page.len(), page.iter().map(Bytes::len).sum());
            self.cursor = Some(cursor).filter(|cursor| cursor != "0");
            return Ok(Some(page));
        }
    }
}
