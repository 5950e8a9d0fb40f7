//! Passwords from variables and files.

use std::{fs::File, io::Read};

use crate::net::Secret;

use super::{
    ConfigError, Settings,
    layer::{Given, Origin},
};

/// The longest first line of a password file, in bytes.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// What `keyferry config` shows for a password.
pub(super) const MASK: &str = "***";

/// The password that `<side>-password` or `<side>-password-file` gives, if either is set.
///
/// The higher layer wins; both in one layer contradict each other.
pub(super) fn of(settings: &Settings, side: &str) -> Result<Option<Secret>, ConfigError> {
    let (name, file_name) = (format!("{side}-password"), format!("{side}-password-file"));
    match (settings.given(&name), settings.given(&file_name)) {
        (None, None) => Ok(None),
        (Some(text), Some(path)) if text.rank() == path.rank() => Err(ConfigError::new(
            format!("{name} and {file_name} contradict each other"),
            format!("both are set by the {}", layer_name(text.origin)),
            "set one of them",
        )),
        (Some(text), path) if path.is_none_or(|path| text.rank() > path.rank()) => {
            Ok(Some(Secret::new(text.text.clone())))
        }
        (_, Some(path)) => read(&file_name, path).map(Some),
        (Some(text), None) => Ok(Some(Secret::new(text.text.clone()))),
    }
}

fn layer_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Default => "defaults",
        Origin::File(_) => "file",
        Origin::Environment => "environment",
        Origin::Flag => "command line",
    }
}

/// The first line of a file, without its line ending.
pub(super) fn read(name: &str, path: &Given) -> Result<Secret, ConfigError> {
    let refuse = |why: String, next: &str| {
        ConfigError::new(format!("{name} {} cannot be used", path.text), why, next)
    };
    let mut bytes = Vec::new();
    File::open(&path.text)
        .and_then(|file| file.take(PASSWORD_BYTES_MAX + 2).read_to_end(&mut bytes))
        .map_err(|error| refuse(error.to_string(), "give a file that can be read"))?;
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() as u64 > PASSWORD_BYTES_MAX {
        let why = format!("its first line is longer than {PASSWORD_BYTES_MAX} bytes");
        return Err(refuse(why, "give a file whose first line is the password"));
    }
    match std::str::from_utf8(line) {
        Ok("") => Err(refuse(
            "its first line is empty".into(),
            "write the password into its first line, or leave the setting out",
        )),
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(refuse(
            "its first line is not UTF-8".into(),
            "give a file whose first line is the password",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layer;

    #[test]
    fn the_first_line_is_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(5000);
        for (name, content, password) in [
            ("no newline", &b"hunter2"[..], Ok("hunter2")),
            ("newline", b"hunter2\n", Ok("hunter2")),
            ("CRLF", b"hunter2\r\nmore", Ok("hunter2")),
            ("more lines", b"hunter2\nmore", Ok("hunter2")),
            ("inner spaces", b" a b \n", Ok(" a b ")),
            ("empty", b"", Err("empty")),
            ("empty line", b"\nhunter2", Err("empty")),
            ("not UTF-8", b"\xff", Err("UTF-8")),
            ("too long", long.as_bytes(), Err("longer")),
        ] {
            let path = dir.path().join("password");
            std::fs::write(&path, content).unwrap();
            let path = path.to_str().unwrap();
            let settings =
                Settings::of([Layer::of(Origin::Flag, &[("source-password-file", path)])]);
            match (of(&settings, "source"), password) {
                (Ok(Some(secret)), Ok(text)) => assert_eq!(secret.reveal(), text, "{name}"),
                (Err(error), Err(text)) => assert!(error.why.contains(text), "{name}: {error}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
    }

    #[test]
    fn the_higher_layer_wins_and_one_layer_must_not_contradict_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "from-file\n").unwrap();
        let file = ("target-password-file", path.to_str().unwrap());
        let text = ("target-password", "from-text");
        for (name, layers, password) in [
            ("none", vec![], Some(None)),
            (
                "text alone",
                vec![Layer::of(Origin::Environment, &[text])],
                Some(Some("from-text")),
            ),
            (
                "flag beats variable",
                vec![
                    Layer::of(Origin::Flag, &[file]),
                    Layer::of(Origin::Environment, &[text]),
                ],
                Some(Some("from-file")),
            ),
            (
                "variable beats file",
                vec![
                    Layer::of(Origin::Environment, &[text]),
                    Layer::of(Origin::File(1), &[file]),
                ],
                Some(Some("from-text")),
            ),
            (
                "same layer",
                vec![Layer::of(Origin::Environment, &[file, text])],
                None,
            ),
        ] {
            let found = of(&Settings::of(layers), "target").ok();
            let found = found.map(|secret| secret.map(|s| s.reveal().to_owned()));
            assert_eq!(found, password.map(|p| p.map(str::to_owned)), "{name}");
        }
        let missing = Layer::of(Origin::Flag, &[("target-password-file", "/nonexistent/x")]);
        let error = of(&Settings::of([missing]), "target").unwrap_err();
        assert!(error.what.contains("/nonexistent/x"), "{error}");
    }
}
