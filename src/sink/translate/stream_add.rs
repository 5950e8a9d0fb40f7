//! Streams: XADD and XTRIM.
//!
//! ```text
//! XADD key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [IDMPAUTO p | IDMP p i]
//!          [MAXLEN | MINID [= | ~] threshold [LIMIT n]] id field value ...
//! XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT n] [KEEPREF | DELREF | ACKED]
//! ```
//!
//! NOMKSTREAM, MINID and LIMIT are known from 6.2 on, the words about references from Redis 8.2 on,
//! IDMP from Redis 8.6 on, where only a primary may combine it with an explicit id.

use bytes::Bytes;

use crate::{resp::Command, sink::line::Line};

use super::{
    DropReason,
    scene::{Outcome, Scene, eval, is, is_any},
    stream::reference_word,
};

/// Trims by deleting entries one by one, for what XTRIM of the target cannot say.
const TRIM: &str = concat!(
    include_str!("lua/stream_references.lua"),
    include_str!("lua/stream_trim.lua")
);

/// How a stream is trimmed.
struct Trim<'a> {
    /// MAXLEN or MINID.
    strategy: &'a Bytes,
    /// `=` or `~`.
    precision: Option<&'a Bytes>,
    threshold: &'a Bytes,
    limit: Option<&'a Bytes>,
}

/// What stands before the id of an XADD, or behind the key of an XTRIM.
#[derive(Default)]
struct Options<'a> {
    trim: Option<Trim<'a>>,
    references: Option<&'static str>,
    no_mkstream: bool,
    /// The producer of a detected duplicate, and the id it gave.
    idmp: Option<(&'a Bytes, &'a Bytes)>,
    idmp_auto: bool,
}

/// See the head of this file.
pub(super) fn xadd(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, key, rest @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    let Some((options, [id, fields @ ..])) = read(rest) else {
        return Outcome::Unchanged;
    };
    let detects = options.idmp.is_some() || options.idmp_auto;
    if detects && id == "*" {
        return Outcome::Dropped(DropReason::DuplicateEntry);
    }
    if !detects && knows(scene, &options) {
        return Outcome::Unchanged;
    }
    let mut line = Line::new("XADD").arg(key);
    let trim = options.trim.as_ref();
    if trims_itself(scene, &options) {
        line = with_references(line, scene, &options);
        line = with_trim(line, scene, trim);
    }
    out.push(line.arg(id).args(fields).done());
    if !trims_itself(scene, &options) {
        out.extend(trim.map(|trim| trim_by_script(key, trim, options.references)));
    }
    if let Some((producer, given_id)) = options.idmp
        && scene.target.is_redis_from(8, 6)
    {
        let record = Line::new("XIDMPRECORD").arg(key);
        out.push(record.arg(producer).arg(given_id).arg(id).done());
    }
    Outcome::Rewritten
}

/// See the head of this file.
pub(super) fn xtrim(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, key, rest @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    let Some((options, [])) = read(rest) else {
        return Outcome::Unchanged;
    };
    let Some(trim) = &options.trim else {
        return Outcome::Unchanged;
    };
    if knows(scene, &options) {
        return Outcome::Unchanged;
    }
    out.push(if trims_itself(scene, &options) {
        with_trim(Line::new("XTRIM").arg(key), scene, Some(trim)).done()
    } else {
        trim_by_script(key, trim, options.references)
    });
    Outcome::Rewritten
}

/// Reads options up to the first argument that is none.
fn read(mut rest: &[Bytes]) -> Option<(Options<'_>, &[Bytes])> {
    let mut options = Options::default();
    loop {
        rest = match rest {
            [word, more @ ..] if is(word, "NOMKSTREAM") => {
                options.no_mkstream = true;
                more
            }
            [word, producer, given_id, more @ ..] if is(word, "IDMP") => {
                options.idmp = Some((producer, given_id));
                more
            }
            [word, _, more @ ..] if is(word, "IDMPAUTO") => {
                options.idmp_auto = true;
                more
            }
            [strategy, more @ ..] if is_any(strategy, &["MAXLEN", "MINID"]) => {
                let (precision, more) = match more {
                    [sign, more @ ..] if sign == "=" || sign == "~" => (Some(sign), more),
                    _ => (None, more),
                };
                let [threshold, more @ ..] = more else {
                    return None;
                };
                let (limit, more) = match more {
                    [word, limit, more @ ..] if is(word, "LIMIT") => (Some(limit), more),
                    _ => (None, more),
                };
                options.trim = Some(Trim {
                    strategy,
                    precision,
                    threshold,
                    limit,
                });
                more
            }
            [word, more @ ..] if reference_word(word).is_some() => {
                options.references = reference_word(word);
                more
            }
            _ => return Some((options, rest)),
        };
    }
}

/// Whether the target knows every option, IDMP aside.
fn knows(scene: &Scene<'_>, options: &Options<'_>) -> bool {
    let of_6_2 = options.no_mkstream
        || options
            .trim
            .as_ref()
            .is_some_and(|trim| is(trim.strategy, "MINID") || trim.limit.is_some());
    let of_8_2 = options.references.is_some();
    (!of_6_2 || scene.target.has_common(6, 2)) && (!of_8_2 || scene.target.is_redis_from(8, 2))
}

/// Whether the target can trim as asked without a script.
fn trims_itself(scene: &Scene<'_>, options: &Options<'_>) -> bool {
    let Some(trim) = &options.trim else {
        return true;
    };
    // KEEPREF is what servers without these words do.
    let plain = options.references.is_none_or(|word| word == "KEEPREF");
    (plain || scene.target.is_redis_from(8, 2))
        && (is(trim.strategy, "MAXLEN") || scene.target.has_common(6, 2))
}

fn with_references(line: Line, scene: &Scene<'_>, options: &Options<'_>) -> Line {
    match options.references {
        Some(word) if scene.target.is_redis_from(8, 2) => line.word(word),
        _ => line,
    }
}

fn with_trim(line: Line, scene: &Scene<'_>, trim: Option<&Trim<'_>>) -> Line {
    let Some(trim) = trim else {
        return line;
    };
    let line = line.arg(trim.strategy).args(trim.precision);
    let line = line.arg(trim.threshold);
    match trim.limit {
        Some(limit) if scene.target.has_common(6, 2) => line.word("LIMIT").arg(limit),
        _ => line,
    }
}

fn trim_by_script(key: &Bytes, trim: &Trim<'_>, references: Option<&'static str>) -> Command {
    let mode = Bytes::from_static(references.unwrap_or("KEEPREF").as_bytes());
    let strategy = Bytes::from(trim.strategy.to_ascii_uppercase());
    eval(TRIM, [key], [&mode, &strategy, trim.threshold])
}
