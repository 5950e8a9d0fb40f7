//! Bitmaps: the operations of BITOP that came with Redis 8.2.
//!
//! They are made of AND, OR and XOR over temporary keys in the slot of the destination, which are
//! deleted in the same transaction. Shorter inputs count as padded with zeros everywhere, so the
//! length of the result is that of the longest input, as in the original.

use bytes::Bytes;

use crate::{resp::Command, sink::line::Line};

use super::scene::{Outcome, Scene, is};

/// `BITOP operation destination key ...`.
pub(super) fn bitop(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, operation, onto, first, rest @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    if scene.target.is_redis_from(8, 2) || rest.is_empty() {
        return Outcome::Unchanged;
    }
    let [a, b, c] = ["a", "b", "c"].map(|name| temporary(onto, name));
    if is(operation, "DIFF") {
        // In the first input and in no other: x ^ (x & (y1 | y2 ...)).
        out.push(line("OR", &a).args(rest).done());
        out.push(line("AND", &a).arg(&a).arg(first).done());
        out.push(line("XOR", onto).arg(first).arg(&a).done());
    } else if is(operation, "DIFF1") {
        // In any other input and not in the first: y ^ (x & y) with y = y1 | y2 ...
        out.push(line("OR", &a).args(rest).done());
        out.push(line("AND", &b).arg(&a).arg(first).done());
        out.push(line("XOR", onto).arg(&a).arg(&b).done());
    } else if is(operation, "ANDOR") {
        out.push(line("OR", &a).args(rest).done());
        out.push(line("AND", onto).arg(first).arg(&a).done());
    } else if is(operation, "ONE") {
        // `a` is what occurred in any input so far, `b` what occurred in more than one.
        out.push(line("OR", &a).arg(first).done());
        for key in rest {
            out.push(line("AND", &c).arg(&a).arg(key).done());
            out.push(line("OR", &b).arg(&b).arg(&c).done());
            out.push(line("OR", &a).arg(&a).arg(key).done());
        }
        out.push(line("XOR", onto).arg(&a).arg(&b).done());
    } else {
        return Outcome::Unchanged;
    }
    out.push(Line::new("DEL").arg(&a).arg(&b).arg(&c).done());
    Outcome::Rewritten
}

fn line(operation: &'static str, onto: &Bytes) -> Line {
    Line::new("BITOP").word(operation).arg(onto)
}

/// The name of a temporary key in the slot of `key`.
///
/// A key that contains `}` either has a hash tag, which the longer name keeps, or cannot be made
/// one; then the slot differs, which matters on a cluster only.
fn temporary(key: &Bytes, name: &str) -> Bytes {
    let tagged = key.contains(&b'}');
    let (open, close): (&[u8], &[u8]) = if tagged { (b"", b"") } else { (b"{", b"}") };
    Bytes::from([open, key, close, b":keyferry:bitop:", name.as_bytes()].concat())
}
