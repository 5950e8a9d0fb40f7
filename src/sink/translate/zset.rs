//! Sorted sets.

use bytes::Bytes;

use crate::{resp::Command, sink::line::Line};

use super::scene::{Outcome, Scene, eval, is, is_any, number};

/// Adds each member whose score is greater or less, for servers without GT and LT (before 6.2).
const ZADD_COMPARING: &str = include_str!("lua/zadd_comparing.lua");

/// Stores the result of a reading command, for servers without ZRANGESTORE (before 6.2).
const ZRANGESTORE: &str = include_str!("lua/zrangestore.lua");

/// Stores the members of the first input that are in no other (before 6.2).
const ZDIFFSTORE: &str = include_str!("lua/zdiffstore.lua");

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member ...`; GT and LT are known from 6.2 on.
///
/// The conditions speak of each member, so they are kept unless there is only one.
pub(super) fn zadd(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    if scene.target.has_common(6, 2) {
        return Outcome::Unchanged;
    }
    let [_, key, rest @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    let words = ["NX", "XX", "GT", "LT", "CH", "INCR"];
    let options = rest.iter().take_while(|arg| is_any(arg, &words)).count();
    let (options, pairs) = rest.split_at(options);
    let Some(comparison) = options.iter().find(|word| is_any(word, &["GT", "LT"])) else {
        return Outcome::Unchanged;
    };
    if pairs.len() == 2 {
        let line = Line::new("ZADD").arg(key);
        let line = match options.iter().any(|word| is(word, "INCR")) {
            true => line.word("INCR"),
            false => line,
        };
        out.push(line.args(pairs).done());
    } else {
        let only_existing = options.iter().any(|word| is(word, "XX"));
        let mode = Bytes::from_static(if only_existing { b"XX" } else { b"" });
        let args = [comparison, &mode].into_iter().chain(pairs);
        out.push(eval(ZADD_COMPARING, [key], args));
    }
    Outcome::Rewritten
}

/// `ZRANGESTORE destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]` (6.2).
pub(super) fn zrangestore(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    if scene.target.has_common(6, 2) {
        return Outcome::Unchanged;
    }
    let [_, onto, from, min, max, rest @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    let (mut by_score, mut by_lex, mut reverse) = (false, false, false);
    let mut limit: &[Bytes] = &[];
    let mut options = rest;
    while let [word, more @ ..] = options {
        options = more;
        if is(word, "BYSCORE") {
            by_score = true;
        } else if is(word, "BYLEX") {
            by_lex = true;
        } else if is(word, "REV") {
            reverse = true;
        } else if is(word, "LIMIT") && more.len() >= 2 {
            (limit, options) = more.split_at(2);
        } else {
            return Outcome::Unchanged;
        }
    }
    // The bounds of the reverse forms come greatest first in both syntaxes.
    let read = match (by_score, by_lex, reverse) {
        (true, _, false) => "ZRANGEBYSCORE",
        (true, _, true) => "ZREVRANGEBYSCORE",
        (_, true, false) => "ZRANGEBYLEX",
        (_, true, true) => "ZREVRANGEBYLEX",
        (_, _, false) => "ZRANGE",
        (_, _, true) => "ZREVRANGE",
    };
    let read = Bytes::from_static(read.as_bytes());
    let with_scores = [Bytes::from_static(b"WITHSCORES")];
    let limit_word = [Bytes::from_static(b"LIMIT")];
    let scores: &[Bytes] = if by_lex { &[] } else { &with_scores };
    let word: &[Bytes] = if limit.is_empty() { &[] } else { &limit_word };
    let args = [&read, min, max].into_iter();
    let args = args.chain(scores).chain(word).chain(limit);
    out.push(eval(ZRANGESTORE, [onto, from], args));
    Outcome::Rewritten
}

/// `ZDIFFSTORE destination numkeys key ...` (6.2).
pub(super) fn zdiffstore(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    if scene.target.has_common(6, 2) {
        return Outcome::Unchanged;
    }
    let [_, onto, count, inputs @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    if number(count).and_then(|count| usize::try_from(count).ok()) != Some(inputs.len()) {
        return Outcome::Unchanged;
    }
    out.push(eval(ZDIFFSTORE, [onto].into_iter().chain(inputs), []));
    Outcome::Rewritten
}
