//! Which arguments of a command are keys.

use bytes::Bytes;

use crate::resp::Command;

use super::scene::{is_any, number};

/// Which arguments of a command are keys: every `step`-th from `first` on, and perhaps one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// Index of the first key in the arguments, the name being 0.
    first: usize,
    /// How many keys there are from there on.
    count: usize,
    step: usize,
    /// A key that stands elsewhere, such as a destination behind a word.
    extra: Option<usize>,
}

impl Keys {
    const NONE: Keys = Keys {
        first: 0,
        count: 0,
        step: 1,
        extra: None,
    };

    /// The indexes of the keys among the arguments, the name being 0.
    pub fn indexes(&self) -> impl Iterator<Item = usize> + use<> {
        let Keys { first, step, .. } = *self;
        self.extra
            .into_iter()
            .chain((0..self.count).map(move |nth| first + nth * step))
    }

    /// The keys; a destination that does not stand with the others comes first.
    pub fn of<'a>(&self, command: &'a Command) -> impl Iterator<Item = &'a Bytes> + use<'a> {
        let args = command.args();
        self.indexes().filter_map(|index| args.get(index))
    }
}

/// Where a command's keys stand.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Nowhere.
    None,
    /// From an index up to a last one, both included; -1 is the last argument.
    Span {
        first: usize,
        last: isize,
        step: usize,
    },
    /// As many as the number at an index says, behind it; perhaps a destination at index 1.
    Counted {
        at: usize,
        step: usize,
        destination: bool,
    },
    /// At index 1, and behind one of the words STORE and STOREDIST.
    Stored,
}

const ONE: Place = Place::Span {
    first: 1,
    last: 1,
    step: 1,
};
const TWO: Place = Place::Span {
    first: 1,
    last: 2,
    step: 1,
};
const SECOND: Place = Place::Span {
    first: 2,
    last: 2,
    step: 1,
};
const ALL: Place = Place::Span {
    first: 1,
    last: -1,
    step: 1,
};
const PAIRS: Place = Place::Span {
    first: 1,
    last: -1,
    step: 2,
};

/// Every command that a stream may contain, in upper case, sorted.
#[rustfmt::skip]
const PLACES: &[(&[u8], Place)] = &[
    (b"APPEND", ONE), (b"BITFIELD", ONE),
    (b"BITOP", Place::Span { first: 2, last: -1, step: 1 }),
    (b"BLMOVE", TWO), (b"BRPOPLPUSH", TWO), (b"COPY", TWO), (b"DECR", ONE), (b"DECRBY", ONE),
    (b"DEL", ALL), (b"DELEX", ONE), (b"DELIFEQ", ONE),
    (b"EVAL", Place::Counted { at: 2, step: 1, destination: false }),
    (b"EVALSHA", Place::Counted { at: 2, step: 1, destination: false }),
    (b"EXPIRE", ONE), (b"EXPIREAT", ONE),
    (b"FCALL", Place::Counted { at: 2, step: 1, destination: false }),
    (b"FLUSHALL", Place::None), (b"FLUSHDB", Place::None), (b"FUNCTION", Place::None),
    (b"GEOADD", ONE), (b"GEORADIUS", Place::Stored), (b"GEORADIUSBYMEMBER", Place::Stored),
    (b"GEOSEARCHSTORE", TWO), (b"GETDEL", ONE), (b"GETEX", ONE), (b"GETSET", ONE),
    (b"HDEL", ONE), (b"HEXPIRE", ONE), (b"HEXPIREAT", ONE), (b"HGETDEL", ONE), (b"HGETEX", ONE),
    (b"HINCRBY", ONE), (b"HINCRBYFLOAT", ONE), (b"HMSET", ONE), (b"HPERSIST", ONE),
    (b"HPEXPIRE", ONE), (b"HPEXPIREAT", ONE), (b"HSET", ONE), (b"HSETEX", ONE), (b"HSETNX", ONE),
    (b"INCR", ONE), (b"INCRBY", ONE), (b"INCRBYFLOAT", ONE),
    (b"LINSERT", ONE), (b"LMOVE", TWO), (b"LPOP", ONE), (b"LPUSH", ONE), (b"LPUSHX", ONE),
    (b"LREM", ONE), (b"LSET", ONE), (b"LTRIM", ONE),
    (b"MOVE", ONE), (b"MSET", PAIRS),
    (b"MSETEX", Place::Counted { at: 1, step: 2, destination: false }),
    (b"MSETNX", PAIRS), (b"PERSIST", ONE), (b"PEXPIRE", ONE), (b"PEXPIREAT", ONE),
    (b"PFADD", ONE), (b"PFCOUNT", ALL), (b"PFMERGE", ALL), (b"PSETEX", ONE),
    (b"PUBLISH", Place::None), (b"RENAME", TWO), (b"RENAMENX", TWO), (b"RESTORE", ONE),
    (b"RESTORE-ASKING", ONE), (b"RPOP", ONE), (b"RPOPLPUSH", TWO), (b"RPUSH", ONE),
    (b"RPUSHX", ONE), (b"SADD", ONE), (b"SCRIPT", Place::None), (b"SDIFFSTORE", ALL),
    (b"SET", ONE), (b"SETBIT", ONE), (b"SETEX", ONE), (b"SETNX", ONE), (b"SETRANGE", ONE),
    (b"SINTERSTORE", ALL), (b"SMOVE", TWO), (b"SORT", Place::Stored), (b"SPOP", ONE),
    (b"SPUBLISH", Place::None), (b"SREM", ONE), (b"SUNIONSTORE", ALL), (b"SWAPDB", Place::None),
    (b"UNLINK", ALL), (b"VADD", ONE), (b"VREM", ONE), (b"VSETATTR", ONE),
    (b"XACK", ONE), (b"XACKDEL", ONE), (b"XADD", ONE), (b"XAUTOCLAIM", ONE), (b"XCFGSET", ONE),
    (b"XCLAIM", ONE), (b"XDEL", ONE), (b"XDELEX", ONE), (b"XGROUP", SECOND),
    (b"XIDMPRECORD", ONE), (b"XSETID", ONE), (b"XTRIM", ONE),
    (b"ZADD", ONE), (b"ZDIFFSTORE", Place::Counted { at: 2, step: 1, destination: true }),
    (b"ZINCRBY", ONE), (b"ZINTERSTORE", Place::Counted { at: 2, step: 1, destination: true }),
    (b"ZPOPMAX", ONE), (b"ZPOPMIN", ONE), (b"ZRANGESTORE", TWO), (b"ZREM", ONE),
    (b"ZREMRANGEBYLEX", ONE), (b"ZREMRANGEBYRANK", ONE), (b"ZREMRANGEBYSCORE", ONE),
    (b"ZUNIONSTORE", Place::Counted { at: 2, step: 1, destination: true }),
];

/// Which arguments of `command` are keys.
///
/// A count that promises more keys than there are arguments is cut to those. Of a command that is
/// not known, the first argument is taken for its key.
pub fn keys(command: &Command) -> Keys {
    let len = command.args().len();
    let place = match place(command.name()) {
        Some(place) => place,
        None => {
            return Keys {
                first: 1,
                count: len.saturating_sub(1).min(1),
                ..Keys::NONE
            };
        }
    };
    match place {
        Place::None => Keys::NONE,
        Place::Span { first, last, step } => {
            let end = match usize::try_from(last) {
                Ok(last) => len.min(last + 1),
                Err(_) => len,
            };
            Keys {
                first,
                count: end.saturating_sub(first).div_ceil(step),
                step,
                ..Keys::NONE
            }
        }
        Place::Counted {
            at,
            step,
            destination,
        } => {
            let promised = command.args().get(at).and_then(number).unwrap_or(0);
            let there = len.saturating_sub(at + 1).div_ceil(step);
            Keys {
                first: at + 1,
                count: usize::try_from(promised).unwrap_or(0).min(there),
                step,
                extra: destination.then_some(1).filter(|_| len > 1),
            }
        }
        Place::Stored => Keys {
            first: 1,
            count: len.saturating_sub(1).min(1),
            extra: stored_at(command),
            ..Keys::NONE
        },
    }
}

/// Where the destination of `... STORE destination` stands.
fn stored_at(command: &Command) -> Option<usize> {
    let words = ["STORE", "STOREDIST"];
    // The last one counts, as on servers; what stands before may be patterns of SORT.
    let at = command.args().iter().rposition(|arg| is_any(arg, &words))?;
    (at > 1 && at + 1 < command.args().len()).then_some(at + 1)
}

fn place(name: &[u8]) -> Option<Place> {
    let mut upper = [0; 24];
    let upper = upper.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let found = PLACES.binary_search_by(|(row, _)| (*row).cmp(upper)).ok()?;
    PLACES.get(found).map(|(_, place)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted() {
        assert!(PLACES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn keys_are_found() {
        for (text, found) in [
            ("SET k v PX 10", &["k"][..]),
            ("del a b c", &["a", "b", "c"]),
            ("DEL", &[]),
            ("MSET a 1 b 2", &["a", "b"]),
            ("MSETEX 2 a 1 b 2 PXAT 5", &["a", "b"]),
            ("MSETEX 9 a 1", &["a"]),
            ("MSETEX -1 a 1", &[]),
            ("RENAME a b", &["a", "b"]),
            ("COPY a b DB 1", &["a", "b"]),
            ("BITOP AND d a b", &["d", "a", "b"]),
            ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", &["d", "a", "b"]),
            ("EVAL return 2 a b c", &["a", "b"]),
            ("EVALSHA ff 0 a", &[]),
            ("SORT k BY STORE GET x STORE d", &["d", "k"]),
            ("SORT k", &["k"]),
            ("GEORADIUS g 1 2 3 km STOREDIST d", &["d", "g"]),
            ("XGROUP CREATE x g 0", &["x"]),
            ("SPUBLISH ch m", &[]),
            ("FLUSHALL", &[]),
            ("JSON.SET doc $ 1", &["doc"]),
            ("SOMETHING", &[]),
        ] {
            let command = Command::of(text.split(' ').map(str::as_bytes));
            let keys = keys(&command);
            assert_eq!(keys.of(&command).collect::<Vec<_>>(), found, "{text}");
        }
    }
}
