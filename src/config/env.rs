//! Settings from environment variables.

use std::ffi::OsString;

use super::{
    ConfigError, Layer, Origin,
    setting::{SETTINGS, Setting},
};

/// Reads the settings that `variables` name; an empty text counts as not set.
///
/// Variables that name no setting are left alone: several programs share an environment.
///
/// # Errors
/// A variable of ours that is not UTF-8.
pub fn from_env(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    for (name, text) in variables {
        let Some(setting) = named(&name) else {
            continue;
        };
        let text = text.into_string().map_err(|_| {
            ConfigError::new(
                format!("{} cannot be used", setting.variable()),
                "its value is not UTF-8",
                "set it to text, or unset it",
            )
        })?;
        if !text.is_empty() {
            layer.set(setting, text, Origin::Environment);
        }
    }
    Ok(layer)
}

fn named(name: &OsString) -> Option<&'static Setting> {
    let name = name.to_str().filter(|n| n.starts_with("KEYFERRY_"))?;
    SETTINGS.iter().find(|setting| setting.variable() == name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn reads_variables_of_settings_only() {
        let layer = from_env(
            [
                ("KEYFERRY_SPOOL_MEMORY", "64mb"),
                ("KEYFERRY_SOURCE_PASSWORD", "hunter2"),
                ("KEYFERRY_LANES", ""),
                ("KEYFERRY_OTHER", "x"),
                ("LANES", "9"),
            ]
            .map(|(name, text)| (name.into(), text.into())),
        )
        .unwrap();
        for (name, text) in [
            ("spool-memory", Some("64mb")),
            ("source-password", Some("hunter2")),
            ("lanes", None),
        ] {
            assert_eq!(layer.text(name), text, "{name}");
        }
    }

    #[test]
    fn refuses_what_is_not_utf8() {
        let error = from_env([("KEYFERRY_MODE".into(), OsString::from_vec(vec![0xff]))]).err();
        assert!(error.unwrap().to_string().contains("KEYFERRY_MODE"));
    }
}
