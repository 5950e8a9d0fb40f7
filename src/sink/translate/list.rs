//! Lists.

use bytes::Bytes;

use crate::{resp::Command, sink::line::Line};

use super::scene::{Outcome, Scene, eval, is, number};

/// Moves an element between any two ends, for servers without LMOVE (before 6.2).
const LMOVE: &str = include_str!("lua/lmove.lua");

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT` (6.2).
pub(super) fn lmove(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, from, onto, pop, push] = command.args() else {
        return Outcome::Unchanged;
    };
    if scene.target.has_common(6, 2) {
        return Outcome::Unchanged;
    }
    out.push(if is(pop, "RIGHT") && is(push, "LEFT") {
        Line::new("RPOPLPUSH").arg(from).arg(onto).done()
    } else {
        let [pop, push] = [(pop, "LPOP", "RPOP"), (push, "LPUSH", "RPUSH")].map(
            |(end, left, right): (&Bytes, &'static str, &'static str)| {
                Bytes::from_static(if is(end, "LEFT") { left } else { right }.as_bytes())
            },
        );
        eval(LMOVE, [from, onto], [&pop, &push])
    });
    Outcome::Rewritten
}

/// `LPOP key [count]`; the count is known from 6.2 on.
pub(super) fn lpop(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    trim(scene, command, out, |count| (count, -1))
}

/// `RPOP key [count]`; the count is known from 6.2 on.
pub(super) fn rpop(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    trim(scene, command, out, |count| (0, -1 - count))
}

/// LTRIM takes away any count at once, and the key with the last element, as a pop does.
fn trim(
    scene: &Scene<'_>,
    command: &Command,
    out: &mut Vec<Command>,
    kept: impl Fn(i64) -> (i64, i64),
) -> Outcome {
    let [_, key, count] = command.args() else {
        return Outcome::Unchanged;
    };
    if scene.target.has_common(6, 2) {
        return Outcome::Unchanged;
    }
    let Some(count) = number(count).filter(|count| (0..i64::MAX).contains(count)) else {
        return Outcome::Unchanged;
    };
    let (first, last) = kept(count);
    out.push(Line::new("LTRIM").arg(key).text(first).text(last).done());
    Outcome::Rewritten
}
