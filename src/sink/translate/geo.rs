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
    out.push(line.args(search.order).word(store).arg(onto).done());
    Outcome::Rewritten
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
