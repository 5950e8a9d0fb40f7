//! From texts to values: parses every setting and refuses contradictions.

use std::{num::NonZeroU64, str::FromStr, time::Duration};

use crate::{
    keyspace::UnixMs,
    net::{Node, Secret},
    sink::{Conflict, HoldExpiries, OnLossy, Publish, Throttle},
    sync::SnapshotChannel,
};

use super::{
    CheckpointPlace, ConfigError, Kind, Listen, ListenText, Migration, Mode, Settings, Showing,
    SourceConfig, SpoolConfig, TargetConfig, duration,
    layer::{Given, Origin},
    password::{self, MASK},
    setting, size,
};

/// Nothing is waited for longer than this; clocks of the system end somewhere.
const PATIENCE_MAX: Duration = Duration::from_secs(366 * 86_400);

/// The longest name of a migration, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressStyle {
    /// Bars on a terminal, log lines elsewhere.
    Auto,
    /// Not at all.
    Never,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How the program talks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talk {
    /// The summary is JSON.
    pub json: bool,
    /// When progress is shown.
    pub progress: ProgressStyle,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: &'static str,
}

/// Everything one run of `keyferry sync` was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncConfig {
    /// What is moved.
    pub migration: Migration,
    /// How it is shown to those who look at its status.
    pub showing: Showing,
    /// Where its status is served, if it is.
    pub status: Option<Listen>,
    /// How the program talks.
    pub talk: Talk,
}

impl SyncConfig {
    /// Makes a configuration of the settings.
    ///
    /// # Errors
    /// The first setting that cannot be parsed, or settings that contradict each other.
    pub fn of(settings: &Settings) -> Result<SyncConfig, ConfigError> {
        let (migration, showing) = Migration::of(settings)?;
        Ok(SyncConfig {
            migration,
            showing,
            status: status(settings)?,
            talk: Talk::of(settings)?,
        })
    }

    /// Refuses passwords that `keyferry config` has masked.
    ///
    /// # Errors
    /// A password is `***`.
    pub fn refuse_masked(&self) -> Result<(), ConfigError> {
        self.migration.refuse_masked()
    }
}

impl Migration {
    /// Makes a migration of the settings that are about one, and how it is shown.
    ///
    /// # Errors
    /// The first setting that cannot be parsed, or settings that contradict each other.
    pub fn of(settings: &Settings) -> Result<(Migration, Showing), ConfigError> {
        let migration = migration(settings)?;
        contradictions(settings, &migration)?;
        let showing = Showing {
            name: settings.name()?,
            ready_hold: settings.duration("ready-hold")?,
        };
        Ok((migration, showing))
    }

    /// Refuses passwords that `keyferry config` has masked.
    ///
    /// # Errors
    /// A password is `***`.
    pub fn refuse_masked(&self) -> Result<(), ConfigError> {
        self.source.refuse_masked()?;
        self.target.refuse_masked()
    }
}

impl SourceConfig {
    /// Makes a configuration of the settings.
    ///
    /// # Errors
    /// The first setting that cannot be parsed.
    pub fn of(settings: &Settings) -> Result<SourceConfig, ConfigError> {
        Ok(SourceConfig {
            node: node(settings, "source")?,
            connect_timeout: settings.duration("connect-timeout")?,
            source_timeout: settings.duration("source-timeout")?,
            retry_for: settings.duration("retry-for")?,
            announce_ip: settings.announce_ip()?,
            announce_port: settings.number("announce-port")?,
        })
    }

    /// Refuses a password that `keyferry config` has masked.
    ///
    /// # Errors
    /// It is `***`.
    pub fn refuse_masked(&self) -> Result<(), ConfigError> {
        refuse_masked("source", &self.node)
    }
}

impl TargetConfig {
    /// Makes a configuration of the settings.
    ///
    /// # Errors
    /// The first setting that cannot be parsed, or settings that contradict each other.
    pub fn of(settings: &Settings) -> Result<TargetConfig, ConfigError> {
        let config = TargetConfig {
            node: node(settings, "target")?,
            on_conflict: match settings.choice("on-conflict")? {
                Some("replace") => Some(Conflict::Replace),
                Some("skip") => Some(Conflict::Skip),
                Some(_) => Some(Conflict::Fail),
                None => None,
            },
            flush: settings.switch("flush-target")?,
            yes: settings.switch("yes")?,
            on_lossy: on_lossy(settings)?,
            import_mode: settings.choice("import-mode")? != Some("off"),
            lanes: settings.number("lanes")?,
            restore_bytes_max: settings.number("restore-bytes-max")?,
            throttle: throttle(settings)?,
            retry_for: settings.duration("retry-for")?,
            connect_timeout: settings.duration("connect-timeout")?,
            silence_max: settings.duration("target-timeout")?,
        };
        if config.flush && config.on_conflict.is_some() {
            return Err(ConfigError::new(
                format!(
                    "{} and {} contradict each other",
                    settings.label("flush-target"),
                    settings.label("on-conflict")
                ),
                "after a flush there is no key left that could be in conflict",
                "give one of them",
            ));
        }
        Ok(config)
    }

    /// Refuses a password that `keyferry config` has masked.
    ///
    /// # Errors
    /// It is `***`.
    pub fn refuse_masked(&self) -> Result<(), ConfigError> {
        refuse_masked("target", &self.node)
    }

    /// Refuses to read the server that is written.
    ///
    /// # Errors
    /// Both have the same address.
    pub fn refuse_source(&self, source: &SourceConfig) -> Result<(), ConfigError> {
        if source.node.endpoint != self.node.endpoint {
            return Ok(());
        }
        Err(ConfigError::new(
            "source and target are the same server",
            format!("both are {}", self.node.endpoint),
            "check --source and --target",
        ))
    }
}

impl Talk {
    /// Reads the settings of the output group.
    ///
    /// # Errors
    /// The first setting that cannot be parsed.
    pub fn of(settings: &Settings) -> Result<Talk, ConfigError> {
        Ok(Talk {
            json: settings.switch("json")?,
            progress: match settings.choice("progress")? {
                Some("never") => ProgressStyle::Never,
                _ => ProgressStyle::Auto,
            },
            log_format: match settings.choice("log-format")? {
                Some("json") => LogFormat::Json,
                _ => LogFormat::Text,
            },
            log_level: settings.choice("log-level")?.unwrap_or("info"),
        })
    }
}

fn throttle(settings: &Settings) -> Result<Throttle, ConfigError> {
    let rate = |name| match settings.has(name) {
        true => settings.number(name).map(NonZeroU64::new),
        false => Ok(None),
    };
    let latency_max = settings.duration("target-latency-max")?;
    Ok(Throttle {
        keys_per_s: rate("max-keys-per-second")?,
        bytes_per_s: rate("max-bytes-per-second")?,
        inflight_bytes_max: settings.number("max-inflight-bytes")?,
        latency_max: settings.switch("adaptive")?.then_some(latency_max),
    })
}

/// What to do with what a server cannot hold.
///
/// # Errors
/// The setting cannot be parsed.
pub fn on_lossy(settings: &Settings) -> Result<OnLossy, ConfigError> {
    Ok(match settings.choice("on-lossy")? {
        Some("drop") => OnLossy::Drop,
        _ => OnLossy::Fail,
    })
}

fn refuse_masked(side: &str, node: &Node) -> Result<(), ConfigError> {
    if node.password.as_ref().is_some_and(|p| p.reveal() == MASK) {
        return Err(ConfigError::new(
            format!("the password of the {side} is {MASK}"),
            "that is how `keyferry config` masks a password, not the password itself",
            format!("set {}", variable(&format!("{side}-password"))),
        ));
    }
    Ok(())
}

fn status(settings: &Settings) -> Result<Option<Listen>, ConfigError> {
    let Some(address) = settings.given("status-listen") else {
        return Ok(None);
    };
    let token_file = settings.given("status-token-file");
    let listen = Listen::of(ListenText {
        address_label: &settings.label("status-listen"),
        address: &address.text,
        token_label: &settings.label("status-token-file"),
        token_file: token_file.map(|given| given.text.as_str()),
    });
    listen.map(Some)
}

fn migration(settings: &Settings) -> Result<Migration, ConfigError> {
    let source = SourceConfig::of(settings)?;
    let target = TargetConfig::of(settings)?;
    Ok(Migration {
        name: name(settings, &source, &target)?,
        source,
        target,
        mode: match settings.choice("mode")? {
            Some("full") => Mode::Full,
            _ => Mode::FullIncremental,
        },
        until_caught_up: settings.switch("until-caught-up")?,
        publish: match settings.choice("publish")? {
            Some("drop") => Publish::Drop,
            _ => Publish::Forward,
        },
        snapshot_channel: match settings.choice("snapshot-channel")? {
            Some("on") => SnapshotChannel::On,
            Some("off") => SnapshotChannel::Off,
            _ => SnapshotChannel::Auto,
        },
        hold_expiries: hold_expiries(settings)?,
        spool: SpoolConfig {
            memory_bytes_max: settings.number("spool-memory")?,
            disk_bytes_max: settings.number("spool-disk")?,
            dir: settings
                .given("spool-dir")
                .map(|given| (&given.text).into()),
        },
        checkpoint: match settings.choice("checkpoint")? {
            Some("file") => CheckpointPlace::File,
            _ => CheckpointPlace::Target,
        },
        allow_full_resync: settings.switch("allow-full-resync")?,
        drain_timeout: settings.duration("drain-timeout")?,
    })
}

/// Which expiries are held while the stream is followed: those within a time, or `all`.
fn hold_expiries(settings: &Settings) -> Result<HoldExpiries, ConfigError> {
    let name = "hold-expiries";
    if settings
        .given(name)
        .is_some_and(|given| given.text == "all")
    {
        return Ok(HoldExpiries::All);
    }
    let within = settings.duration(name)?;
    Ok(HoldExpiries::Within(within.as_millis() as UnixMs))
}

/// What the migration is called. It is a part of names of keys, connections and directories.
fn name(
    settings: &Settings,
    source: &SourceConfig,
    target: &TargetConfig,
) -> Result<String, ConfigError> {
    const LEN_MAX: usize = 200;
    let is_plain = |c: char| c.is_ascii_graphic() && c != '/';
    let Some(given) = settings.given("checkpoint-name") else {
        let both = format!("{}-to-{}", source.node.endpoint, target.node.endpoint);
        let plain = |c| if is_plain(c) { c } else { '_' };
        return Ok(both.chars().map(plain).collect());
    };
    match given.text.chars().all(is_plain) && given.text.len() <= LEN_MAX && !given.text.starts_with('.') {
        true => Ok(given.text.clone()),
        false => Err(settings.unusable(
            "checkpoint-name",
            "it is a part of names of keys and directories",
            "write letters, digits and signs without spaces, slashes or a leading dot, 200 at the most",
        )),
    }
}

fn contradictions(settings: &Settings, migration: &Migration) -> Result<(), ConfigError> {
    let of = |name| settings.label(name);
    migration.target.refuse_source(&migration.source)?;
    if migration.until_caught_up && migration.mode == Mode::Full {
        return Err(ConfigError::new(
            format!(
                "{} and {} full contradict each other",
                of("until-caught-up"),
                of("mode")
            ),
            "without the stream there is nothing to catch up with",
            "leave one of them out; --mode full ends by itself after the snapshot",
        ));
    }
    Ok(())
}

/// The server of one side with the password that holds for it.
fn node(settings: &Settings, side: &str) -> Result<Node, ConfigError> {
    let Some(given) = settings.given(side) else {
        return Err(ConfigError::new(
            format!("no {side} is given"),
            format!(
                "neither --{side}, {} nor the configuration file names one",
                variable(side)
            ),
            format!("add --{side} redis://host:port"),
        ));
    };
    let mut node = Node::from_str(&given.text).map_err(|error| {
        settings.unusable(side, &error.to_string(), &format!("correct --{side}"))
    })?;
    if let Some(password) = password::of(settings, side)? {
        node.password = Some(password);
    }
    match (&node.user, &node.password) {
        (Some(_), None) => Err(ConfigError::new(
            format!("the {side} has a user and no password"),
            "AUTH needs both",
            format!(
                "set {} or --{side}-password-file; for a user without password any text will do",
                variable(&format!("{side}-password")),
            ),
        )),
        _ => Ok(node),
    }
}

fn variable(name: &str) -> String {
    setting::find(name)
        .map(|s| s.variable())
        .unwrap_or_default()
}

/// Typed access. Defaults of the table are parsed like everything else, so that a bad one shows.
impl Settings {
    fn switch(&self, name: &str) -> Result<bool, ConfigError> {
        let text = self
            .given(name)
            .map_or("false", |given| given.text.as_str());
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(self.unusable(name, "it is neither true nor false", "write true or false")),
        }
    }

    fn choice(&self, name: &str) -> Result<Option<&'static str>, ConfigError> {
        let (Some(given), Some(Kind::Choice(words))) = (self.given(name), kind(name)) else {
            return Ok(None);
        };
        match words.iter().find(|word| **word == given.text) {
            Some(word) => Ok(Some(word)),
            None => {
                let why = format!("`{}` is not one of its words", given.text.escape_debug());
                Err(self.unusable(name, &why, &format!("write one of: {}", words.join(", "))))
            }
        }
    }

    /// A count, or a size in bytes.
    fn number<T: TryFrom<u64>>(&self, name: &str) -> Result<T, ConfigError> {
        let text = self.given(name).map_or("", |given| given.text.as_str());
        let (number, min, max) = match kind(name) {
            Some(Kind::Size { min, max }) => (size::parse(text), min, max),
            Some(Kind::Count { min, max }) => {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                let number = text.parse().ok().filter(|_| digits);
                (
                    number.ok_or_else(|| "it is not a whole number".into()),
                    min,
                    max,
                )
            }
            _ => (Err("it is not a number".into()), 0, 0),
        };
        let next = format!("give {min} to {max}");
        let number = number.map_err(|why| self.unusable(name, &why, &next))?;
        let in_range = (min..=max).contains(&number);
        T::try_from(number)
            .ok()
            .filter(|_| in_range)
            .ok_or_else(|| self.unusable(name, &format!("{number} is out of range"), &next))
    }

    fn duration(&self, name: &str) -> Result<Duration, ConfigError> {
        let text = self.given(name).map_or("", |given| given.text.as_str());
        let next = "write a number and ms, s, m, h or d: 250ms, 30s, 5m";
        let duration = duration::parse(text).map_err(|why| self.unusable(name, &why, next))?;
        match kind(name) {
            Some(Kind::Duration { zero: false }) if duration.is_zero() => {
                Err(self.unusable(name, "it must be longer than nothing", next))
            }
            _ if duration > PATIENCE_MAX => {
                Err(self.unusable(name, "it is longer than a year", next))
            }
            _ => Ok(duration),
        }
    }

    /// What can stand in a path and in a label: a short word.
    fn name(&self) -> Result<Option<String>, ConfigError> {
        let Some(given) = self.given("name") else {
            return Ok(None);
        };
        let text = &given.text;
        let is_known = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_known) {
            let why = "it is empty, too long, or holds others than letters, digits, `.`, `_`, `-`";
            return Err(self.unusable("name", why, "give a short word, such as orders-eu"));
        }
        Ok(Some(text.clone()))
    }

    /// What `REPLCONF ip-address` takes: a short word.
    fn announce_ip(&self) -> Result<Option<String>, ConfigError> {
        let Some(given) = self.given("announce-ip") else {
            return Ok(None);
        };
        let text = &given.text;
        // redis 6.2 replication.c replconfCommand refuses more than NET_HOST_STR_LEN bytes.
        if text.is_empty() || text.len() > 255 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            let why = "it is empty, too long, or holds spaces or special characters";
            return Err(self.unusable("announce-ip", why, "give an IP address or a host name"));
        }
        Ok(Some(text.clone()))
    }

    /// An error about one setting that says where its text came from.
    fn unusable(&self, name: &str, why: &str, next: &str) -> ConfigError {
        ConfigError::new(format!("{} cannot be used", self.label(name)), why, next)
    }

    /// How the setting was called where it was set.
    fn label(&self, name: &str) -> String {
        match self.given(name).map(|given| given.origin) {
            Some(Origin::Environment) => variable(name),
            Some(Origin::File(line)) => format!("`{name}` (configuration file, line {line})"),
            Some(Origin::Flag | Origin::Default) | None => format!("--{name}"),
        }
    }

    /// The text of a setting with every password masked.
    pub(super) fn masked(&self, name: &str, given: &Given) -> String {
        match kind(name) {
            Some(Kind::Secret) => Secret::new(&*given.text).to_string(),
            Some(Kind::Url) => match Node::from_str(&given.text) {
                Ok(node) => node.masked_url(),
                Err(_) => MASK.to_owned(),
            },
            _ => given.text.clone(),
        }
    }
}

fn kind(name: &str) -> Option<Kind> {
    setting::find(name).map(|setting| setting.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layer;

    fn config(settings: &[(&str, &str)]) -> Result<SyncConfig, ConfigError> {
        let mut layer = Layer::default();
        for (name, text) in [("source", "redis://a"), ("target", "redis://b")]
            .iter()
            .chain(settings)
        {
            layer.set(setting::find(name).unwrap(), *text, Origin::Flag);
        }
        SyncConfig::of(&Settings::of([layer]))
    }

    #[test]
    fn defaults_are_valid() {
        let config = config(&[]).unwrap_or_else(|e| panic!("{e}"));
        let migration = &config.migration;
        let (source, target) = (&migration.source, &migration.target);
        assert_eq!(migration.mode, Mode::FullIncremental);
        assert_eq!(target.on_conflict, None);
        assert_eq!(target.on_lossy, OnLossy::Fail);
        assert_eq!(migration.publish, Publish::Forward);
        assert_eq!(migration.snapshot_channel, SnapshotChannel::Auto);
        assert_eq!((target.lanes, source.announce_port), (2, 0));
        assert_eq!(target.restore_bytes_max, 1 << 20);
        assert_eq!(migration.spool.memory_bytes_max, 128 << 20);
        assert_eq!(target.throttle, Throttle::default());
        assert_eq!(source.retry_for, Duration::from_secs(300));
        assert_eq!(target.connect_timeout, Duration::from_secs(5));
        assert_eq!(source.source_timeout, Duration::from_secs(60));
        assert!(!target.yes && !target.flush && !migration.until_caught_up);
        assert_eq!(config.talk.log_level, "info");
    }

    #[test]
    fn refuses_what_cannot_run() {
        for (name, settings, error) in [
            (
                "same server",
                &[("target", "valkey://a:6379")][..],
                "the same server",
            ),
            (
                "flush and conflict",
                &[("flush-target", "true"), ("on-conflict", "skip")],
                "contradict",
            ),
            (
                "caught up in full",
                &[("mode", "full"), ("until-caught-up", "true")],
                "contradict",
            ),
            ("mode", &[("mode", "both")], "--mode cannot be used"),
            ("switch", &[("yes", "maybe")], "--yes cannot be used"),
            (
                "no lanes",
                &[("lanes", "0")],
                "--lanes cannot be used: 0 is out of range",
            ),
            ("lanes", &[("lanes", "two")], "not a whole number"),
            ("signed", &[("lanes", "+2")], "not a whole number"),
            ("many lanes", &[("lanes", "65")], "out of range"),
            (
                "nothing to restore",
                &[("restore-bytes-max", "0")],
                "out of range",
            ),
            ("no spool", &[("spool-memory", "0")], "out of range"),
            (
                "no window",
                &[("max-inflight-bytes", "0kb")],
                "out of range",
            ),
            ("size", &[("max-inflight-bytes", "4xb")], "a size is"),
            ("port", &[("announce-port", "65536")], "out of range"),
            (
                "no time",
                &[("connect-timeout", "0s")],
                "longer than nothing",
            ),
            (
                "no patience",
                &[("source-timeout", "0")],
                "longer than nothing",
            ),
            ("duration", &[("retry-for", "60")], "a duration is"),
            (
                "announce-ip",
                &[("announce-ip", "a b")],
                "--announce-ip cannot be used",
            ),
            ("name", &[("name", "a b")], "--name cannot be used"),
            ("no name", &[("name", "")], "--name cannot be used"),
            (
                "a name that is a path",
                &[("name", "../a")],
                "--name cannot be used",
            ),
            (
                "status for all",
                &[("status-listen", "0.0.0.0:1")],
                "--status-listen 0.0.0.0:1 needs --status-token-file",
            ),
            (
                "url",
                &[("source", "rediss://a")],
                "--source cannot be used: rediss",
            ),
            (
                "user alone",
                &[("source", "redis://u@a")],
                "a user and no password",
            ),
        ] {
            let shown = config(settings).expect_err(name).to_string();
            assert!(shown.contains(error), "{name}: {shown}");
        }
        let impatient = config(&[("retry-for", "0")]).unwrap().migration;
        assert_eq!(impatient.target.retry_for, Duration::ZERO);
    }

    #[test]
    fn servers_are_required_and_errors_name_the_layer() {
        let error = SyncConfig::of(&Settings::of([])).unwrap_err();
        assert!(error.why.contains("KEYFERRY_SOURCE"), "{error:?}");
        for (origin, label) in [
            (Origin::Flag, "--lanes"),
            (Origin::Environment, "KEYFERRY_LANES"),
            (Origin::File(7), "`lanes` (configuration file, line 7)"),
        ] {
            let mut layer = Layer::default();
            for (name, text) in [
                ("source", "redis://a"),
                ("target", "redis://b"),
                ("lanes", "x"),
            ] {
                layer.set(setting::find(name).unwrap(), text, origin);
            }
            let error = SyncConfig::of(&Settings::of([layer])).unwrap_err();
            assert!(error.what.starts_with(label), "{error:?}");
        }
    }

    #[test]
    fn a_password_replaces_that_of_the_url_and_a_masked_one_is_refused() {
        let found = config(&[("source", "redis://u:old@a"), ("source-password", "new")]).unwrap();
        let password = found.migration.source.node.password.as_ref().unwrap();
        assert_eq!(password.reveal(), "new");
        assert!(!format!("{found:?}").contains("new"));
        assert!(found.refuse_masked().is_ok());
        let masked = config(&[("target", "redis://u:***@b")]).unwrap();
        assert!(masked.refuse_masked().unwrap_err().what.contains("target"));
    }
}
