//! Two collections side by side, element by element.

use std::cmp::Ordering;

use super::text::Text;

/// Visits the elements of two collections in pairs of the same key, in ascending order of keys; what
/// only one of them has comes alone. Both must be in that order.
pub(super) fn sorted<'e, T, K: Ord>(
    source: &'e [T],
    target: &'e [T],
    key: impl Fn(&'e T) -> K,
    mut visit: impl FnMut(Option<&'e T>, Option<&'e T>),
) {
    let (mut source, mut target) = (source.iter().peekable(), target.iter().peekable());
    loop {
        let order = match (source.peek(), target.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(ours), Some(theirs)) => key(ours).cmp(&key(theirs)),
        };
        visit(
            source.next_if(|_| order.is_le()),
            target.next_if(|_| order.is_ge()),
        );
    }
}

/// Visits the elements of two collections in pairs of the same name, where their order means
/// nothing; what only one of them has comes alone.
pub(super) fn named<T>(
    mut source: Vec<(Text, T)>,
    mut target: Vec<(Text, T)>,
    mut visit: impl FnMut(&[u8], Option<&T>, Option<&T>),
) {
    // Often both are stored in the same order, which spares sorting them.
    let pairs = || source.iter().zip(&target);
    let in_order = pairs()
        .take_while(|(ours, theirs)| *ours.0 == *theirs.0)
        .count();
    for ((name, ours), (_, theirs)) in pairs().take(in_order) {
        visit(name, Some(ours), Some(theirs));
    }
    let (source, target) = (source.split_off(in_order), target.split_off(in_order));
    let [source, target] = [source, target].map(|mut rest| {
        rest.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        rest
    });
    sorted(
        &source,
        &target,
        |(name, _)| &**name,
        |ours, theirs| {
            if let Some((name, _)) = ours.or(theirs) {
                visit(name, ours.map(|of| &of.1), theirs.map(|of| &of.1));
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::Element;

    #[test]
    fn pairs_are_found_whatever_the_order() {
        for (name, source, target, expected) in [
            ("nothing", "", "", ""),
            ("in order", "a1 b2", "a1 b3", "a1/1 b2/3"),
            ("out of order", "b1 a2 c3", "c1 a2 b3", "a2/2 b1/3 c3/1"),
            (
                "a prefix in order",
                "c1 b2 a3",
                "c1 a2 b3",
                "c1/1 a3/2 b2/3",
            ),
            ("missing", "a1 c2 d3", "c1", "a1/- c2/1 d3/-"),
            ("only there", "c1", "d1 a2 c3", "a-/2 c1/3 d-/1"),
            ("twice", "a1 a2 b3", "a1 b2", "a1/1 a2/- b3/2"),
        ] {
            let of = |list: &'static str| -> Vec<(Text, &str)> {
                let pairs = list.split_terminator(' ').map(|pair| pair.split_at(1));
                pairs
                    .map(|(name, value)| (Text::from(Element::Bytes(name.into())), value))
                    .collect()
            };
            let mut visited = Vec::new();
            named(of(source), of(target), |name, ours, theirs| {
                let name = String::from_utf8_lossy(name).into_owned();
                let value = |of: Option<&&str>| of.copied().unwrap_or("-").to_owned();
                visited.push(format!("{name}{}/{}", value(ours), value(theirs)));
            });
            assert_eq!(visited.join(" "), expected, "{name}");
        }
    }
}
