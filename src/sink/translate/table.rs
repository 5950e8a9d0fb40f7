//! Which command has which rule. A command that is not here passes unchanged.

use super::{
    bitmap, expiry, function, generic, geo, hash, list, payload, pubsub, scene::Rule, script,
    stream, stream_add, string, zset,
};

/// Names in upper case, sorted: they are searched by halving.
#[rustfmt::skip]
const RULES: &[(&[u8], Rule)] = &[
    (b"BITOP", bitmap::bitop),
    (b"COPY", generic::copy),
    (b"DELEX", generic::conditional_delete),
    (b"DELIFEQ", generic::conditional_delete),
    (b"EXPIRE", expiry::expire),
    (b"EXPIREAT", expiry::expireat),
    (b"FLUSHALL", generic::flush),
    (b"FLUSHDB", generic::flush),
    (b"FUNCTION", function::function),
    (b"GEORADIUS", geo::georadius),
    (b"GEORADIUSBYMEMBER", geo::georadius),
    (b"GEOSEARCHSTORE", geo::geosearchstore),
    (b"GETDEL", generic::conditional_delete),
    (b"GETEX", expiry::getex),
    (b"HEXPIRE", hash::hexpire),
    (b"HEXPIREAT", hash::hexpireat),
    (b"HGETDEL", hash::hgetdel),
    (b"HGETEX", hash::hgetex),
    (b"HPERSIST", hash::hpersist),
    (b"HPEXPIRE", hash::hpexpire),
    (b"HPEXPIREAT", hash::hpexpireat),
    (b"HSETEX", hash::hsetex),
    (b"LMOVE", list::lmove),
    (b"LPOP", list::lpop),
    (b"MSETEX", string::msetex),
    (b"PEXPIRE", expiry::pexpire),
    (b"PEXPIREAT", expiry::pexpireat),
    (b"PSETEX", string::psetex),
    (b"PUBLISH", pubsub::publish),
    (b"RESTORE", payload::restore),
    (b"RESTORE-ASKING", payload::restore),
    (b"RPOP", list::rpop),
    (b"SCRIPT", script::script),
    (b"SET", string::set),
    (b"SETEX", string::setex),
    (b"SPUBLISH", pubsub::spublish),
    (b"VADD", generic::vector_set),
    (b"VREM", generic::vector_set),
    (b"VSETATTR", generic::vector_set),
    (b"XACKDEL", stream::xackdel),
    (b"XADD", stream_add::xadd),
    (b"XCFGSET", stream::duplicate_detection),
    (b"XDELEX", stream::xdelex),
    (b"XGROUP", stream::xgroup),
    (b"XIDMPRECORD", stream::duplicate_detection),
    (b"XSETID", stream::xsetid),
    (b"XTRIM", stream_add::xtrim),
    (b"ZADD", zset::zadd),
    (b"ZDIFFSTORE", zset::zdiffstore),
    (b"ZRANGESTORE", zset::zrangestore),
];

/// The longest name above.
const NAME_BYTES_MAX: usize = 17;

/// The rule of a command, by its name in any case.
pub(super) fn rule(name: &[u8]) -> Option<Rule> {
    let mut upper = [0; NAME_BYTES_MAX];
    let upper = upper.get_mut(..name.len())?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let found = RULES.binary_search_by(|(row, _)| (*row).cmp(upper)).ok()?;
    RULES.get(found).map(|(_, rule)| *rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_found_in_any_case() {
        assert!(RULES.is_sorted_by(|a, b| a.0 < b.0));
        for (name, _) in RULES {
            assert!(name.len() <= NAME_BYTES_MAX);
            assert!(rule(name).is_some());
            assert!(rule(&name.to_ascii_lowercase()).is_some());
        }
        for name in [&b""[..], b"SE", b"SETT", b"JSON.SET", b"LPUSH", &[0xff; 40]] {
            assert!(rule(name).is_none());
        }
    }
}
