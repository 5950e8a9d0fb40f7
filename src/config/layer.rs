//! Layers of settings, and what is left when the upper ones have covered the lower ones.

use std::{collections::BTreeMap, fmt};

use super::setting::{self, SETTINGS, Setting};

/// Where the text of a setting came from. Greater beats smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The table of settings.
    Default,
    /// The configuration file, at this line (counted from 1).
    File(usize),
    /// An environment variable.
    Environment,
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(line) => write!(f, "file, line {line}"),
            Origin::Environment => f.write_str("environment"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// The text of one setting and where it came from. May hold a password: it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Given {
    /// Which layer it is from, whatever the line.
    pub(super) fn rank(&self) -> u8 {
        match self.origin {
            Origin::Default => 0,
            Origin::File(_) => 1,
            Origin::Environment => 2,
            Origin::Flag => 3,
        }
    }
}

/// What one layer says: for each setting it names, the text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Layer(BTreeMap<&'static str, Given>);

impl Layer {
    /// Adds a setting that is in the table; a later text replaces an earlier one.
    pub fn set(&mut self, setting: &'static Setting, text: impl Into<String>, origin: Origin) {
        let text = text.into();
        self.0.insert(setting.name, Given { text, origin });
    }

    /// A layer of these settings.
    #[cfg(test)]
    pub(super) fn of(origin: Origin, settings: &[(&str, &str)]) -> Layer {
        let mut layer = Layer::default();
        for (name, text) in settings {
            layer.set(setting::find(name).unwrap(), *text, origin);
        }
        layer
    }

    /// The text of a setting, if this layer names it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|given| given.text.as_str())
    }
}

/// All settings that have a text, each from the highest layer that names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings(Layer);

impl Settings {
    /// Lays `layers` over each other, the highest first, and all of them over the defaults.
    pub fn of(layers: impl IntoIterator<Item = Layer>) -> Settings {
        let mut merged = Layer::default();
        for layer in layers {
            for (name, given) in layer.0 {
                merged.0.entry(name).or_insert(given);
            }
        }
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                merged.0.entry(setting.name).or_insert_with(|| Given {
                    text: default.to_owned(),
                    origin: Origin::Default,
                });
            }
        }
        Settings(merged)
    }

    /// The text of a setting, from the highest layer that names it. May be a password.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.text(name)
    }

    /// Whether any layer names it, or there is a default.
    pub fn has(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// Whether any layer names it.
    pub fn is_given(&self, name: &str) -> bool {
        self.given(name)
            .is_some_and(|given| given.origin != Origin::Default)
    }

    pub(super) fn given(&self, name: &str) -> Option<&Given> {
        debug_assert!(setting::find(name).is_some(), "no setting is called {name}");
        self.0.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_layer_wins_setting_by_setting() {
        let settings = Settings::of([
            Layer::of(Origin::Flag, &[("lanes", "8")]),
            Layer::of(Origin::Environment, &[("lanes", "7"), ("mode", "full")]),
            Layer::of(
                Origin::File(3),
                &[("lanes", "6"), ("mode", "x"), ("retry-for", "9s")],
            ),
        ]);
        for (name, text, origin) in [
            ("lanes", "8", Origin::Flag),
            ("mode", "full", Origin::Environment),
            ("retry-for", "9s", Origin::File(3)),
            ("connect-timeout", "5s", Origin::Default),
        ] {
            let given = settings.given(name).unwrap();
            assert_eq!(
                (given.text.as_str(), given.origin),
                (text, origin),
                "{name}"
            );
            assert_eq!(settings.is_given(name), origin != Origin::Default);
        }
        assert!(settings.given("announce-ip").is_none() && !settings.is_given("announce-ip"));
    }
}
