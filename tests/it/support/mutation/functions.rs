//! Function libraries.

use super::{Mutations, found};

fn code(library: &str, answer: &str) -> String {
    format!(
        "#!lua name={library}\nredis.register_function('{library}_f', function(keys, args) return {answer} end)"
    )
}

impl Mutations {
    pub(super) fn add_functions(&mut self) {
        let load = |library: &str, answer: &str| {
            vec![command![
                "FUNCTION",
                "LOAD",
                "REPLACE",
                code(library, answer)
            ]]
        };
        let delete = |library: &str| vec![command!["FUNCTION", "DELETE", library]];
        let at = |source: Option<&str>, target: Option<&str>, library: &str| {
            let [source, target] = [source, target].map(|of| of.map(|of| code(library, of)));
            vec![found("function", "code", source, target)]
        };
        for (library, make, change, expected) in [
            (
                "planted_body",
                load("planted_body", "1"),
                load("planted_body", "2"),
                at(Some("1"), Some("2"), "planted_body"),
            ),
            (
                "planted_missing",
                load("planted_missing", "1"),
                delete("planted_missing"),
                at(Some("1"), None, "planted_missing"),
            ),
            (
                "planted_more",
                Vec::new(),
                load("planted_more", "1"),
                at(None, Some("1"), "planted_more"),
            ),
        ] {
            self.list.push(super::Mutation {
                db: 0,
                key: library.into(),
                make,
                change,
                expected,
            });
        }
    }
}
