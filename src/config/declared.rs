//! A file that declares many migrations.
//!
//! ```toml
//! on-conflict = "replace"          # holds for every migration that says nothing else
//!
//! [[migration]]
//! name = "orders"
//! source = "redis://10.0.0.5"
//! target = "valkey://10.0.0.9"
//! ```
//!
//! The keys of a table are those of the file of `keyferry sync`.

use std::time::Duration;

use toml::{Spanned, de::DeValue};

use super::{ConfigError, Layer, Migration, Setting, Settings, Showing, file::FileText};

/// The key of the tables.
const MIGRATION: &str = "migration";

/// A migration that a file declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What it is called; no other of the file has this name.
    pub name: String,
    /// What is moved.
    pub migration: Migration,
    /// How long the target must have kept up before it is ready.
    pub ready_hold: Duration,
}

/// Reads the migrations that a file declares; `path` is for messages.
///
/// # Errors
/// As [`super::from_file`] and [`super::SyncConfig::of`]; no migration at all, or one without a
/// name, a source or a target; two of one name, or from the same source to the same target; a flush
/// that nobody agreed to; a setting that is about the process.
pub fn declared(text: &str, path: &str) -> Result<Vec<Declared>, ConfigError> {
    let file = FileText { text, path };
    let table = file.table()?;
    let mut common = Layer::default();
    let mut tables = Vec::new();
    for (key, value) in table.get_ref() {
        if key.get_ref() == MIGRATION {
            tables = of_migrations(file, value)?;
            continue;
        }
        let setting = file.set(&mut common, key, value)?;
        let line = file.line_of(key.span().start);
        refuse_of_process(file, setting, line)?;
        if setting.name == "name" {
            return Err(ConfigError::new(
                format!("{path} line {line}: `name` cannot stand here"),
                "every migration has a name of its own",
                "write it below its [[migration]]",
            ));
        }
    }
    if tables.is_empty() {
        return Err(ConfigError::new(
            format!("{path} declares no migration"),
            "there is no [[migration]] in it",
            "add one, with name, source and target; to stop a daemon, send it SIGTERM",
        ));
    }
    let mut all = Vec::new();
    for (line, layer) in tables {
        let declared = of_layer(file, line, layer, &common)?;
        refuse_twice(file, line, &declared, &all)?;
        all.push(declared);
    }
    Ok(all)
}

/// The layers of all `[[migration]]` tables, with the lines they begin at.
fn of_migrations(
    file: FileText<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<(usize, Layer)>, ConfigError> {
    let wrong = |span_start| {
        ConfigError::new(
            format!(
                "{} line {}: `{MIGRATION}` has a wrong type",
                file.path,
                file.line_of(span_start)
            ),
            "it is not a list of tables",
            "begin each migration with [[migration]]",
        )
    };
    let DeValue::Array(array) = value.get_ref() else {
        return Err(wrong(value.span().start));
    };
    let mut layers = Vec::new();
    for item in array {
        let DeValue::Table(table) = item.get_ref() else {
            return Err(wrong(item.span().start));
        };
        let mut layer = Layer::default();
        for (key, value) in table {
            let setting = file.set(&mut layer, key, value)?;
            refuse_of_process(file, setting, file.line_of(key.span().start))?;
        }
        layers.push((file.line_of(item.span().start), layer));
    }
    Ok(layers)
}

fn refuse_of_process(
    file: FileText<'_>,
    setting: &Setting,
    line: usize,
) -> Result<(), ConfigError> {
    if !setting.of_process {
        return Ok(());
    }
    Err(ConfigError::new(
        format!(
            "{} line {line}: `{}` cannot stand in this file",
            file.path, setting.name
        ),
        "it is about the whole process and not about a migration",
        "remove the line; see `keyferry daemon --help` for the flags of the process",
    ))
}

fn of_layer(
    file: FileText<'_>,
    line: usize,
    layer: Layer,
    common: &Layer,
) -> Result<Declared, ConfigError> {
    let at = format!("{} line {line}: this migration", file.path);
    let settings = Settings::of([layer, common.clone()]);
    for needed in ["name", "source", "target"] {
        if !settings.has(needed) {
            return Err(ConfigError::new(
                format!("{at} has no `{needed}`"),
                "every migration has a name, a source and a target",
                format!("add {needed} = \"...\" below [[migration]]"),
            ));
        }
    }
    let (migration, showing) = Migration::of(&settings)?;
    migration.refuse_masked()?;
    if migration.target.flush && !migration.target.yes {
        return Err(ConfigError::new(
            format!("{at} has flush-target and not yes"),
            "flush-target deletes everything on the target, and a daemon cannot ask",
            "add yes = true if that is meant",
        ));
    }
    let Showing { name, ready_hold } = showing;
    Ok(Declared {
        name: name.unwrap_or_default(),
        migration,
        ready_hold,
    })
}

fn refuse_twice(
    file: FileText<'_>,
    line: usize,
    declared: &Declared,
    others: &[Declared],
) -> Result<(), ConfigError> {
    let servers = |d: &Declared| {
        let (source, target) = (&d.migration.source.node, &d.migration.target.node);
        (source.endpoint.clone(), target.endpoint.clone())
    };
    let at = format!("{} line {line}", file.path);
    if others.iter().any(|other| other.name == declared.name) {
        return Err(ConfigError::new(
            format!("{at}: there are two migrations `{}`", declared.name),
            "status and metrics know a migration by its name",
            "give one of them another name",
        ));
    }
    let keeps = |d: &Declared| d.migration.name.clone();
    if let Some(other) = others.iter().find(|o| keeps(o) == keeps(declared))
        && servers(other) != servers(declared)
    {
        return Err(ConfigError::new(
            format!(
                "{at}: `{}` and `{}` have the same checkpoint-name",
                other.name, declared.name
            ),
            "a checkpoint says how far one migration is",
            "give each its own, or leave it out",
        ));
    }
    match others.iter().find(|o| servers(o) == servers(declared)) {
        Some(other) => Err(ConfigError::new(
            format!("{at}: `{}` does what `{}` does", declared.name, other.name),
            "both have the same source and the same target",
            "remove one of them",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    const ORDERS: &str =
        "[[migration]]\nname = 'orders'\nsource = 'redis://a'\ntarget = 'redis://b'\n";

    #[test]
    fn tables_stand_above_what_holds_for_all() {
        let text = format!(
            "lanes = 8\nready-hold = '1s'\n{ORDERS}lanes = 3\n[[migration]]\nname = 'x'\n\
             source = 'redis://c'\ntarget = 'redis://d'\nmode = 'full'\n\
             flush-target = true\nyes = true\n"
        );
        let all = declared(&text, "k.toml").unwrap_or_else(|e| panic!("{e}"));
        let found: Vec<_> = all
            .iter()
            .map(|d| (d.name.as_str(), d.migration.target.lanes, d.migration.mode))
            .collect();
        let wanted = [("orders", 3, Mode::FullIncremental), ("x", 8, Mode::Full)];
        assert_eq!(found, wanted);
        assert!(all.iter().all(|d| d.ready_hold == Duration::from_secs(1)));
        assert_eq!(declared(&text, "k.toml").unwrap(), all);
    }

    #[test]
    fn what_cannot_run_is_refused_with_its_line() {
        let second = |lines: &str| format!("{ORDERS}[[migration]]\n{lines}");
        for (name, text, error) in [
            ("empty", String::new(), "k.toml declares no migration"),
            (
                "no list",
                "[migration]\nname = 'a'".into(),
                "line 1: `migration` has a wrong type",
            ),
            ("no TOML", "[[migration]".into(), "line 1 is not TOML"),
            (
                "no tables",
                "migration = [1]".into(),
                "`migration` has a wrong type",
            ),
            (
                "unknown key",
                second("lames = 1"),
                "line 6: unknown key `lames`",
            ),
            (
                "no name",
                second("source = 'redis://c'"),
                "line 5: this migration has no `name`",
            ),
            (
                "no target",
                second("name = 'x'\nsource = 'redis://c'"),
                "has no `target`",
            ),
            (
                "a name that is a path",
                ORDERS.replace("orders", "a/b"),
                "`name` (configuration file, line 2)",
            ),
            (
                "one name for all",
                format!("name = 'x'\n{ORDERS}"),
                "line 1: `name` cannot stand here",
            ),
            (
                "of the process",
                format!("{ORDERS}json = true"),
                "line 5: `json` cannot stand in this file",
            ),
            (
                "a flush nobody agreed to",
                format!("{ORDERS}flush-target = true"),
                "has flush-target and not yes",
            ),
            (
                "one name twice",
                format!("{ORDERS}{}", ORDERS.replace("//a", "//c")),
                "line 5: there are two migrations `orders`",
            ),
            (
                "the same twice",
                format!("{ORDERS}{}", ORDERS.replace("orders", "again")),
                "line 5: `again` does what `orders` does",
            ),
            (
                "one checkpoint for two",
                format!(
                    "checkpoint-name = 'c'\n{ORDERS}{}",
                    ORDERS.replace("orders", "x").replace("//a", "//c")
                ),
                "`orders` and `x` have the same checkpoint-name",
            ),
            (
                "a masked password",
                ORDERS.replace("//a", "//u:***@a"),
                "the password of the source is ***",
            ),
            (
                "contradiction",
                format!("{ORDERS}mode = 'full'\nuntil-caught-up = true"),
                "contradict",
            ),
        ] {
            let error_found = declared(&text, "k.toml").expect_err(name).to_string();
            assert!(error_found.contains(error), "{name}: {error_found}");
        }
    }
}
