//! Jobs of KeyDB's `KEYDB.CRON` (type 64): a script that the server runs by itself.
//!
//! ```text
//! str script | ms start | ms interval | len n | n * str key | len n | n * str argument
//! ```

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;
use crate::rdb::part::Part;

/// A job that is being read.
#[derive(Debug)]
pub(crate) enum Cron {
    Start,
    KeyCount,
    Keys(u64),
    ArgumentCount,
    Arguments(u64),
}

impl Cron {
    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        loop {
            match self {
                Self::Start => {
                    let script = cursor.text(limits)?;
                    let (start_at_ms, interval_ms) = (cursor.ms()?, cursor.ms()?);
                    *self = Self::KeyCount;
                    return Ok(Some(Part::CronJob {
                        script,
                        start_at_ms,
                        interval_ms,
                    }));
                }
                Self::KeyCount => *self = Self::Keys(cursor.count()?),
                Self::Keys(0) => *self = Self::ArgumentCount,
                Self::Keys(left) => {
                    let key = cursor.text(limits)?;
                    *left -= 1;
                    return Ok(Some(Part::CronKey(key)));
                }
                Self::ArgumentCount => *self = Self::Arguments(cursor.count()?),
                Self::Arguments(0) => return Ok(None),
                Self::Arguments(left) => {
                    let argument = cursor.text(limits)?;
                    *left -= 1;
                    return Ok(Some(Part::CronArgument(argument)));
                }
            }
            cursor.commit();
        }
    }
}
