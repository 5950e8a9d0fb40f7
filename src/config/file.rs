//! Settings from a TOML file: flat, the keys are the names of the flags.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    ConfigError, Layer, Origin,
    setting::{self, Kind, SETTINGS, Setting},
};

/// Reads the settings of a configuration file; `path` is for messages.
///
/// # Errors
/// Text that is not TOML, unknown keys and values of a wrong type, each with its line. No error
/// repeats a value.
pub fn from_file(text: &str, path: &str) -> Result<Layer, ConfigError> {
    let file = FileText { text, path };
    let mut layer = Layer::default();
    for (key, value) in file.table()?.get_ref() {
        file.set(&mut layer, key, value)?;
    }
    Ok(layer)
}

/// A file that is being read, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileText<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a str,
}

impl<'a> FileText<'a> {
    pub(super) fn table(self) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| {
            // The error's own display shows the line, and the line may hold a password.
            let line = error.span().map_or(1, |span| self.line_of(span.start));
            ConfigError::new(
                format!("{} line {line} is not TOML", self.path),
                error.message().lines().next().unwrap_or_default(),
                "correct the line; `keyferry config` prints a file that can be read",
            )
        })
    }

    /// Adds a setting to a layer, and returns which one it was.
    pub(super) fn set(
        self,
        layer: &mut Layer,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<&'static Setting, ConfigError> {
        let at = Place {
            path: self.path,
            line: self.line_of(key.span().start),
        };
        let setting = known(key.get_ref(), &at)?;
        let text = value_text(setting, value, &at)?;
        layer.set(setting, text, Origin::File(at.line));
        Ok(setting)
    }

    /// The line of a place in the text, counted from 1.
    pub(super) fn line_of(self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

struct Place<'a> {
    path: &'a str,
    line: usize,
}

fn known(key: &str, at: &Place<'_>) -> Result<&'static Setting, ConfigError> {
    let Place { path, line } = at;
    match setting::find(key) {
        Some(setting) if setting.in_file => Ok(setting),
        Some(_) => Err(ConfigError::new(
            format!("{path} line {line}: `{key}` cannot stand in the file"),
            "it says which file is read",
            format!("remove the line and use --{key}"),
        )),
        None => {
            let next = match nearest(key) {
                Some(name) => format!("write `{name}` if that is meant, or remove the line"),
                None => {
                    "remove the line; the keys are the long names of the flags of `keyferry sync`"
                        .into()
                }
            };
            Err(ConfigError::new(
                format!("{path} line {line}: unknown key `{}`", key.escape_debug()),
                "no setting has this name",
                next,
            ))
        }
    }
}

fn value_text(
    setting: &Setting,
    value: &Spanned<DeValue<'_>>,
    at: &Place<'_>,
) -> Result<String, ConfigError> {
    match (value.get_ref(), &setting.kind) {
        (DeValue::String(text), _) => Ok(text.to_string()),
        (DeValue::Boolean(on), Kind::Switch) => Ok(on.to_string()),
        (DeValue::Integer(number), Kind::Count { .. } | Kind::Size { .. })
            if number.radix() == 10 =>
        {
            Ok(number.as_str().replace('_', ""))
        }
        (other, _) => Err(ConfigError::new(
            format!(
                "{} line {}: `{}` has a wrong type",
                at.path, at.line, setting.name
            ),
            format!(
                "found {}, expected {}",
                other.type_str(),
                setting.kind.toml_type()
            ),
            format!("write it as {}", setting.kind.toml_type()),
        )),
    }
}

/// The setting whose name differs from `key` in `_` for `-`, case, or a prefix only.
fn nearest(key: &str) -> Option<&'static str> {
    let spelled = key.replace('_', "-").to_ascii_lowercase();
    SETTINGS
        .iter()
        .map(|setting| setting.name)
        .find(|name| *name == spelled || (spelled.len() >= 4 && name.starts_with(&spelled)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_type_a_setting_can_have() {
        let layer = from_file(
            "# moves db 1\nsource = \"redis://a\"\nlanes = 4\nspool-memory = 1_000_000\n\
             max-inflight-bytes = '4mb'\nuntil-caught-up = true\nretry-for = \"5m\"\n",
            "k.toml",
        )
        .unwrap_or_else(|e| panic!("{e}"));
        for (name, text) in [
            ("source", "redis://a"),
            ("lanes", "4"),
            ("spool-memory", "1000000"),
            ("max-inflight-bytes", "4mb"),
            ("until-caught-up", "true"),
            ("retry-for", "5m"),
        ] {
            assert_eq!(layer.text(name), Some(text), "{name}");
        }
    }

    #[test]
    fn errors_name_key_and_line_and_no_value() {
        for (name, text, error) in [
            (
                "unknown",
                "lanes = 1\n\nlames = 2",
                "k.toml line 3: unknown key `lames`",
            ),
            (
                "underscore",
                "retry_for = '1s'",
                "line 1: unknown key `retry_for`",
            ),
            ("table", "[sync]\nlanes = 1", "line 1: unknown key `sync`"),
            ("config", "config = 'x'", "line 1: `config` cannot stand"),
            (
                "number for text",
                "mode = 3",
                "line 1: `mode` has a wrong type: found integer",
            ),
            ("no unit", "retry-for = 30", "expected a duration in quotes"),
            ("text for switch", "yes = 1", "expected true or false"),
            ("array", "lanes = [1]", "found array"),
            ("float", "spool-memory = 1.5", "found float"),
            (
                "no TOML",
                "\nsource-password = \"hunter2",
                "k.toml line 2 is not TOML",
            ),
            (
                "bare",
                "source-password = hunter2",
                "k.toml line 1 is not TOML",
            ),
            ("twice", "lanes = 1\nlanes = 2", "line 2 is not TOML"),
        ] {
            let shown = from_file(text, "k.toml").err().expect(name).to_string();
            assert!(shown.contains(error), "{name}: {shown}");
            assert!(!shown.contains("hunter2"), "{name}: {shown}");
        }
        let next = from_file("retry_for = '1s'", "k.toml").err().unwrap().next;
        assert!(next.contains("`retry-for`"), "{next}");
    }
}
