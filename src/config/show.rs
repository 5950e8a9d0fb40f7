//! Settings as a TOML file that says where each value came from.

use std::fmt::Write;

use super::{Kind, Origin, SETTINGS, Setting, Settings, layer::Given};

/// The column at which comments begin, where the line is short enough.
const COMMENT_COLUMN: usize = 44;

impl Settings {
    /// The settings as a TOML file: one line each, grouped, with its origin in a comment.
    ///
    /// Passwords are masked, and all else can be read back as it stands. Settings without a
    /// value stand as comments.
    pub fn to_toml(&self) -> String {
        let mut toml = String::from(
            "# What `keyferry sync` runs with. Passwords are masked; a run refuses a masked one.\n",
        );
        let mut group = None;
        for setting in SETTINGS.iter().filter(|setting| setting.in_file) {
            if group != Some(setting.group) {
                group = Some(setting.group);
                let _ = write!(toml, "\n# {}\n", setting.group.heading());
            }
            toml.push_str(&match self.given(setting.name) {
                Some(given) => self.line(setting, given),
                None => commented(&format!("# {}", setting.name), setting.unset),
            });
        }
        toml
    }

    fn line(&self, setting: &Setting, given: &Given) -> String {
        let text = self.masked(setting.name, given);
        let value = match (setting.kind, text.parse::<u64>()) {
            (Kind::Count { .. }, Ok(number)) => number.to_string(),
            (Kind::Switch, _) => is_on(&text).to_string(),
            _ => quoted(&text),
        };
        let origin = match given.origin {
            Origin::Flag => format!("flag --{}", setting.name),
            Origin::Environment => format!("environment {}", setting.variable()),
            origin => origin.to_string(),
        };
        commented(&format!("{} = {value}", setting.name), &origin)
    }
}

fn is_on(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "yes" | "on" | "1"
    )
}

/// A basic string of TOML, on one line whatever it holds.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn commented(text: &str, comment: &str) -> String {
    format!("{text:<COMMENT_COLUMN$} # {comment}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layer, from_file, setting};

    fn sample() -> Settings {
        let mut flags = Layer::default();
        for (name, text) in [
            ("source", "redis://u:hunter2@a"),
            ("target", "valkey://[::1]:7000"),
            ("target-password", "hunter2"),
            ("on-conflict", "skip"),
            ("yes", "on"),
            ("announce-ip", "x\"\\y\n"),
            ("lanes", "007"),
        ] {
            flags.set(setting::find(name).unwrap(), text, Origin::Flag);
        }
        Settings::of([flags])
    }

    #[test]
    fn the_output_can_be_fed_back() {
        let once = sample().to_toml();
        let read = |text: &str| {
            Settings::of([from_file(text, "k.toml").unwrap_or_else(|e| panic!("{e:?}\n{text}"))])
        };
        let twice = read(&once).to_toml();
        assert_eq!(read(&twice).to_toml(), twice);
        for setting in SETTINGS.iter().filter(|s| s.in_file) {
            let (first, second) = (sample(), read(&once));
            let text = |s: &Settings| s.given(setting.name).map(|g| s.masked(setting.name, g));
            if !matches!(setting.kind, Kind::Switch | Kind::Count { .. }) {
                assert_eq!(text(&first), text(&second), "{}", setting.name);
            }
        }
    }

    #[test]
    fn lines_are_masked_and_say_their_origin() {
        let toml = sample().to_toml();
        assert!(!toml.contains("hunter2"), "{toml}");
        for (start, end) in [
            ("source = \"redis://u:***@a:6379\"", "# flag --source"),
            ("target-password = \"***\"", "# flag --target-password"),
            ("yes = true", "# flag --yes"),
            ("mode = \"full+incremental\"", "# default"),
            ("# source-password-file", "# not set"),
        ] {
            let line = toml.lines().find(|line| line.starts_with(start));
            assert!(
                line.is_some_and(|line| line.ends_with(end)),
                "{start}\n{toml}"
            );
        }
    }
}
