//! Geo searches.

use bytes::Bytes;

use crate::{
    resp::Command,
    sink::{Loss, line::Line},
};

use super::scene::{Outcome, Scene, is, is_any};

/// What a GEOSEARCHSTORE asks for, as GEORADIUS can say it.
#[derive(Default)]
struct Search<'a> {
    member: Option<&'a Bytes>,
    position: Option<&'a [Bytes]>,
    radius: Option<&'a [Bytes]>,
    count: Option<&'a Bytes>,
    order: Option<&'a Bytes>,
    stores_distance: bool,
    /// By box, or COUNT with ANY, which GEORADIUS before 6.2 cannot say.
    beyond: bool,
}

/// `GEOSEARCHSTORE destination source FROM... BY... [ASC | DESC] [COUNT n [ANY]] [STOREDIST]` (6.2).
///
/// A search by radius is a GEORADIUS with STORE.
pub(super) fn geosearchstore(
    scene: &Scene<'_>,
    command: &Command,
    out: &mut Vec<Command>,
) -> Outcome {
    let [_, onto, from, options @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    if scene.target.has_common(6, 2) {
        return Outcome::Unchanged;
    }
    let Some(search) = read(options) else {
        return Outcome::Unchanged;
    };
    if search.beyond {
        return Outcome::Lossy(Loss::GeoSearch);
    }
    let line = match (search.member, search.position) {
        (Some(member), None) => Line::new("GEORADIUSBYMEMBER").arg(from).arg(member),
        (None, Some(position)) => Line::new("GEORADIUS").arg(from).args(position),
        _ => return Outcome::Unchanged,
    };
    let Some(radius) = search.radius else {
        return Outcome::Unchanged;
    };
    let mut line = line.args(radius);
    if let Some(count) = search.count {
        line = line.word("COUNT").arg(count);
    }
    let store = if search.stores_distance {
        "STOREDIST"
    } else {
        "STORE"
    };
    let search = line.args(search.order).word(store).arg(onto).done();
    empty_first(from, onto, out);
    out.push(search);
    Outcome::Rewritten
}

/// `GEORADIUS source longitude latitude radius unit ... [STORE | STOREDIST destination]`, and the
/// same by member.
pub(super) fn georadius(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let args = command.args();
    let is_store = |word: &Bytes| is_any(word, &["STORE", "STOREDIST"]);
    let onto = args
        .iter()
        .position(is_store)
        .and_then(|at| args.get(at + 1));
    let (Some(from), Some(onto), false) = (args.get(1), onto, scene.target.has_common(7, 0)) else {
        return Outcome::Unchanged;
    };
    empty_first(from, onto, out);
    out.push(command.clone());
    Outcome::Rewritten
}

/// Before 7.0 a search in a key that does not exist leaves its destination as it was.
fn empty_first(from: &Bytes, onto: &Bytes, out: &mut Vec<Command>) {
    if from != onto {
        out.push(Line::new("DEL").arg(onto).done());
    }
}

fn read(mut options: &[Bytes]) -> Option<Search<'_>> {
    let mut search = Search::default();
    loop {
        options = match options {
            [] => return Some(search),
            [word, member, rest @ ..] if is(word, "FROMMEMBER") => {
                search.member = Some(member);
                rest
            }
            [word, rest @ ..] if is(word, "FROMLONLAT") => {
                let (position, rest) = rest.split_at_checked(2)?;
                search.position = Some(position);
                rest
            }
            [word, rest @ ..] if is(word, "BYRADIUS") => {
                let (radius, rest) = rest.split_at_checked(2)?;
                search.radius = Some(radius);
                rest
            }
            [word, _, _, _, rest @ ..] if is(word, "BYBOX") => {
                search.beyond = true;
                rest
            }
            [word, rest @ ..] if is(word, "ANY") => {
                search.beyond = true;
                rest
            }
            [word, count, rest @ ..] if is(word, "COUNT") => {
                search.count = Some(count);
                rest
            }
            [word, rest @ ..] if is_any(word, &["ASC", "DESC"]) => {
                search.order = Some(word);
                rest
            }
            [word, rest @ ..] if is(word, "STOREDIST") => {
                search.stores_distance = true;
                rest
            }
            _ => return None,
        };
    }
}
