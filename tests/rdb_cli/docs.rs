//! What is printed is what `docs/rdb.md` describes.

use serde_json::Value;

use crate::run::{TINY, fixture_path, rdb, rdb_with_stdin};

const DOCS: &str = include_str!("../../docs/rdb.md");

/// The section of a verb.
fn section(verb: &str) -> &'static str {
    let title = format!("\n## {verb}\n");
    let (_, section) = DOCS
        .split_once(&title)
        .unwrap_or_else(|| panic!("no section {verb}"));
    section.split("\n## ").next().unwrap()
}

fn assert_named(section: &str, name: &str) {
    assert!(
        section.contains(&format!("`{name}`")),
        "{name} is not described"
    );
}

/// Every field of an object and of the objects in it.
fn assert_described(section: &str, object: &Value, path: &str) {
    for (name, value) in object.as_object().unwrap() {
        // The other form of a byte string.
        if name == "base64" {
            continue;
        }
        let dotted = format!("{path}{name}");
        let is_described = [name, &dotted]
            .iter()
            .any(|name| section.contains(&format!("`{name}`")));
        assert!(is_described, "{dotted} is not described");
        let inner = match value {
            Value::Array(list) => list.first(),
            value => Some(value),
        };
        if let Some(inner @ Value::Object(_)) = inner {
            assert_described(section, inner, &format!("{name}."));
        }
    }
}

#[test]
fn every_field_is_described() {
    let all = fixture_path("generated/redis-8.6/all.rdb");
    let module = fixture_path("generated/redis-8.6/module.rdb");
    for file in [&all, &module] {
        let info = rdb(&["info", file, "--json"]).json();
        assert_described(section("info"), &info, "");
        for line in rdb(&["json", file, "--aux"]).lines() {
            assert_named(section("json"), line["kind"].as_str().unwrap());
            assert_described(section("json"), &line, "");
        }
    }
    let damaged = rdb_with_stdin(&["check", "-", "--json"], &TINY[..40]).json();
    assert_described(section("check"), &damaged, "");
    let file = fixture_path("hostile/zset-dup.rdb");
    let odd = rdb(&["check", &file, "--json"]).json();
    assert_described(section("check"), &odd, "");
}

#[test]
fn every_flag_of_a_verb_is_described() {
    let settings = include_str!("../../docs/cli.md");
    for verb in ["info", "json", "check", "dump"] {
        let help = rdb(&[verb, "--help"]);
        help.assert_code(0, verb);
        let is_of_flag = |c: char| c == '-' || c.is_ascii_lowercase();
        let words = help.stdout.split(|c| !is_of_flag(c));
        for flag in words.filter(|word| word.starts_with("--") && word.len() > 2) {
            let is_described = DOCS.contains(flag) || settings.contains(flag);
            assert!(
                is_described || ["--help", "--verbose", "--output"].contains(&flag),
                "{verb} {flag}"
            );
        }
    }
}
