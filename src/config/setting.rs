//! The one table of settings: flags, variables, keys of the file, help and defaults.
//!
//! A new setting is a row here and its use in [`super::resolve`]; `docs/cli.md` must name it
//! too, which `tests/cli.rs` checks.

/// The heading a setting stands under in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What is connected, and as whom.
    Servers,
    /// How far it goes.
    Extent,
    /// What happens to data on the target.
    Writing,
    /// Memory, connections and patience.
    Limits,
    /// Faults, and going on after them.
    Faults,
    /// How we appear at the source.
    Announcing,
    /// Where it is shown from outside what is going on.
    Status,
    /// What is shown.
    Output,
}

impl Group {
    /// The heading as text.
    pub fn heading(self) -> &'static str {
        match self {
            Group::Servers => "Servers",
            Group::Extent => "How far it goes",
            Group::Writing => "Writing to the target",
            Group::Limits => "Limits and patience",
            Group::Faults => "Faults, and going on after them",
            Group::Announcing => "How the source sees us",
            Group::Status => "Status",
            Group::Output => "Output",
        }
    }
}

/// What the text of a setting must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The URL of a server.
    Url,
    /// A password; never shown.
    Secret,
    /// The path of a file.
    Path,
    /// Any text that is not empty.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`; the flag alone means `true`.
    Switch,
    /// A whole number from `min` to `max`.
    Count {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A size in bytes with a unit, from `min` to `max` bytes.
    Size {
        /// The least, in bytes.
        min: u64,
        /// The greatest, in bytes.
        max: u64,
    },
    /// A duration with a unit.
    Duration {
        /// Whether it may be nil.
        zero: bool,
    },
}

impl Kind {
    /// How a value of this kind is written in a TOML file.
    pub fn toml_type(self) -> &'static str {
        match self {
            Kind::Url | Kind::Secret | Kind::Path | Kind::Text | Kind::Choice(_) => {
                "text in quotes"
            }
            Kind::Switch => "true or false",
            Kind::Count { .. } => "a whole number",
            Kind::Size { .. } => "a size in quotes (\"64mb\") or a number of bytes",
            Kind::Duration { .. } => "a duration in quotes (\"30s\")",
        }
    }
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name in kebab case: the long flag and the key in the file.
    pub name: &'static str,
    /// Its heading in the help.
    pub group: Group,
    /// What must be given.
    pub kind: Kind,
    /// What stands for the value in the help.
    pub value_name: &'static str,
    /// The text that holds when nobody says anything.
    pub default: Option<&'static str>,
    /// What it means, in one or two lines, with units.
    pub help: &'static str,
    /// What happens without it, where it has no default.
    pub unset: &'static str,
    /// There is a flag; passwords have none, since everybody can read the arguments of a process.
    pub on_command_line: bool,
    /// It may stand in the file.
    pub in_file: bool,
    /// It is about the process and not about one migration: a daemon's file has no place for it.
    pub of_process: bool,
}

impl Setting {
    /// The environment variable: `KEYFERRY_` and the name in capitals.
    pub fn variable(&self) -> String {
        format!("KEYFERRY_{}", self.name.replace('-', "_").to_uppercase())
    }

    const fn default(mut self, default: &'static str) -> Setting {
        self.default = Some(default);
        self
    }

    const fn of_process(mut self) -> Setting {
        self.of_process = true;
        self
    }

    const fn unset(mut self, unset: &'static str) -> Setting {
        self.unset = unset;
        self
    }
}

/// Finds a setting by its name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

const fn setting(
    group: Group,
    name: &'static str,
    kind: Kind,
    value_name: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        group,
        kind,
        value_name,
        default: None,
        help,
        unset: "not set",
        on_command_line: !matches!(kind, Kind::Secret),
        in_file: true,
        of_process: false,
    }
}

const SIZE_MAX: u64 = 1 << 40;

/// Every setting of a migration, in the order they are shown.
pub const SETTINGS: &[Setting] = &[
    setting(
        Group::Servers,
        "source",
        Kind::Url,
        "URL",
        "The server that is read: redis://[user[:password]@]host[:port], valkey://... or unix:///path",
    )
    .unset("required"),
    setting(
        Group::Servers,
        "target",
        Kind::Url,
        "URL",
        "The server that is written, in the same form",
    )
    .unset("required"),
    setting(
        Group::Servers,
        "source-password",
        Kind::Secret,
        "PASSWORD",
        "The password of the source",
    ),
    setting(
        Group::Servers,
        "source-password-file",
        Kind::Path,
        "FILE",
        "Read the password of the source from the first line of FILE",
    ),
    setting(
        Group::Servers,
        "target-password",
        Kind::Secret,
        "PASSWORD",
        "The password of the target",
    ),
    setting(
        Group::Servers,
        "target-password-file",
        Kind::Path,
        "FILE",
        "Read the password of the target from the first line of FILE",
    ),
    setting(
        Group::Extent,
        "mode",
        Kind::Choice(&["full", "full+incremental"]),
        "full|full+incremental",
        "full: the snapshot only, then end; full+incremental: then follow the stream until stopped",
    )
    .default("full+incremental"),
    setting(
        Group::Extent,
        "until-caught-up",
        Kind::Switch,
        "BOOL",
        "Follow only until the target has everything the source has, then end",
    )
    .default("false"),
    setting(
        Group::Writing,
        "on-conflict",
        Kind::Choice(&["replace", "skip", "fail"]),
        "replace|skip|fail",
        "For each key that exists on the target: overwrite it, leave it, or stop. Without it a target that holds keys is refused",
    )
    .unset("a target that holds keys is refused"),
    setting(
        Group::Writing,
        "flush-target",
        Kind::Switch,
        "BOOL",
        "Delete everything on the target first; asks on a terminal, needs --yes elsewhere",
    )
    .default("false"),
    setting(
        Group::Writing,
        "yes",
        Kind::Switch,
        "BOOL",
        "Do not ask before the target is flushed",
    )
    .default("false"),
    setting(
        Group::Writing,
        "on-lossy",
        Kind::Choice(&["fail", "drop"]),
        "fail|drop",
        "What the target cannot hold (a field's expiry on an old server, a missing module): stop, or leave it out and count it",
    )
    .default("fail"),
    setting(
        Group::Writing,
        "publish",
        Kind::Choice(&["forward", "drop"]),
        "forward|drop",
        "PUBLISH and SPUBLISH in the stream: send them to the target, or leave them out and count them",
    )
    .default("forward"),
    setting(
        Group::Writing,
        "hold-expiries",
        Kind::Text,
        "TIME|all",
        "Expiries that come within this time are held while following, so that no delay of ours lets a key expire that the source renews; all: every one, to the end of the run",
    )
    .default("10m"),
    setting(
        Group::Writing,
        "import-mode",
        Kind::Choice(&["auto", "off"]),
        "auto|off",
        "While following, put a target that has it (Valkey 8.1 and later) into import mode, in which no key expires by the target's clock",
    )
    .default("auto"),
    setting(
        Group::Limits,
        "lanes",
        Kind::Count { min: 1, max: 64 },
        "N",
        "Connections that write the snapshot",
    )
    .default("2"),
    setting(
        Group::Limits,
        "restore-bytes-max",
        Kind::Size { min: 1, max: 512 << 20 },
        "SIZE",
        "Values up to this size are written by one RESTORE, larger ones in pieces",
    )
    .default("1mb"),
    setting(
        Group::Limits,
        "max-inflight-bytes",
        Kind::Size { min: 64 << 10, max: SIZE_MAX },
        "SIZE",
        "Bytes sent and not confirmed by the target yet, over all lanes; what is larger goes alone",
    )
    .default("8mb"),
    setting(
        Group::Limits,
        "max-keys-per-second",
        Kind::Count { min: 1, max: 1 << 40 },
        "N",
        "Keys of the snapshot and commands of the stream written each second, at the most",
    )
    .unset("as many as the target takes"),
    setting(
        Group::Limits,
        "max-bytes-per-second",
        Kind::Size { min: 1, max: SIZE_MAX },
        "SIZE",
        "Bytes sent to the target each second, at the most",
    )
    .unset("as many as the target takes"),
    setting(
        Group::Limits,
        "adaptive",
        Kind::Switch,
        "BOOL",
        "Send less while the target's replies take longer than --target-latency-max",
    )
    .default("false"),
    setting(
        Group::Limits,
        "target-latency-max",
        Kind::Duration { zero: false },
        "TIME",
        "How long replies may take with --adaptive, from the sending of a batch on",
    )
    .default("20ms"),
    setting(
        Group::Limits,
        "retry-for",
        Kind::Duration { zero: true },
        "TIME",
        "How long passing troubles are waited out: a lost connection, LOADING, OOM, BUSY...; 0 never waits",
    )
    .default("5m"),
    setting(
        Group::Limits,
        "connect-timeout",
        Kind::Duration { zero: false },
        "TIME",
        "How long opening a connection may take",
    )
    .default("5s"),
    setting(
        Group::Limits,
        "source-timeout",
        Kind::Duration { zero: false },
        "TIME",
        "How long the source may be silent; keep it above its repl-ping-replica-period (10 s)",
    )
    .default("60s"),
    setting(
        Group::Limits,
        "target-timeout",
        Kind::Duration { zero: false },
        "TIME",
        "How long the target may leave commands unanswered before it is connected to anew",
    )
    .default("60s"),
    setting(
        Group::Faults,
        "spool-memory",
        Kind::Size { min: 64 << 10, max: SIZE_MAX },
        "SIZE",
        "Memory for bytes received and not applied yet; what does not fit goes to the disk",
    )
    .default("128mb"),
    setting(
        Group::Faults,
        "spool-dir",
        Kind::Path,
        "DIR",
        "Where bytes received, the names of written keys and checkpoint files are kept, in a directory of their own",
    )
    .unset("keyferry in $STATE_DIRECTORY, $XDG_STATE_HOME or ~/.local/state"),
    setting(
        Group::Faults,
        "spool-disk",
        Kind::Size { min: 0, max: 1 << 50 },
        "SIZE",
        "Disk space for bytes received and not applied yet; when it is full the source is read no further",
    )
    .default("16gb"),
    setting(
        Group::Faults,
        "snapshot-channel",
        Kind::Choice(&["auto", "on", "off"]),
        "auto|on|off",
        "A connection of its own for the snapshot, so that the source gathers no writes meanwhile. auto: where the source offers it; on: or stop; off: never",
    )
    .default("auto"),
    setting(
        Group::Faults,
        "checkpoint",
        Kind::Choice(&["target", "file"]),
        "target|file",
        "Where it is kept how far the stream is applied. target: with the data, exactly once; file: commands may be applied twice after a crash",
    )
    .default("target"),
    setting(
        Group::Faults,
        "checkpoint-name",
        Kind::Text,
        "NAME",
        "What the migration is called; the same name goes on with it",
    )
    .unset("the addresses of source and target"),
    setting(
        Group::Faults,
        "allow-full-resync",
        Kind::Switch,
        "BOOL",
        "When the source cannot continue the stream, empty the target and copy everything again, instead of stopping",
    )
    .default("false"),
    setting(
        Group::Faults,
        "drain-timeout",
        Kind::Duration { zero: true },
        "TIME",
        "How long a stop waits until what was received is applied; the rest stays for the next run",
    )
    .default("10s"),
    setting(
        Group::Announcing,
        "announce-ip",
        Kind::Text,
        "ADDRESS",
        "The address that INFO and Sentinel show for us",
    )
    .unset("the address the connection comes from"),
    setting(
        Group::Announcing,
        "announce-port",
        Kind::Count { min: 0, max: 65_535 },
        "PORT",
        "The port that INFO and Sentinel show for us; never the port of a real server",
    )
    .default("0"),
    setting(
        Group::Status,
        "name",
        Kind::Text,
        "NAME",
        "What the migration is called in its status and its metrics: letters, digits, `.`, `_`, `-`",
    )
    .unset("no name"),
    setting(
        Group::Status,
        "ready-hold",
        Kind::Duration { zero: true },
        "TIME",
        "How long the target must have kept up with the source before the status says `ready`",
    )
    .default("5s"),
    setting(
        Group::Status,
        "status-listen",
        Kind::Text,
        "ADDR",
        "Serve /status (JSON), /metrics (Prometheus) and /healthz on this address, such as 127.0.0.1:9121",
    )
    .of_process(),
    setting(
        Group::Status,
        "status-token-file",
        Kind::Path,
        "FILE",
        "Ask for the bearer token in the first line of FILE; needed where the address is not loopback",
    )
    .of_process(),
    Setting {
        in_file: false,
        of_process: true,
        ..setting(
            Group::Output,
            "config",
            Kind::Path,
            "FILE",
            "Read settings from a TOML file; its keys are the names of these flags",
        )
    },
    setting(
        Group::Output,
        "json",
        Kind::Switch,
        "BOOL",
        "Print the summary as one JSON object instead of a table",
    )
    .default("false")
    .of_process(),
    setting(
        Group::Output,
        "progress",
        Kind::Choice(&["auto", "never"]),
        "auto|never",
        "auto: bars on a terminal, else a log line every 5 s",
    )
    .default("auto")
    .of_process(),
    setting(
        Group::Output,
        "log-format",
        Kind::Choice(&["text", "json"]),
        "text|json",
        "The form of log lines and errors on stderr",
    )
    .default("text")
    .of_process(),
    setting(
        Group::Output,
        "log-level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "LEVEL",
        "How much is logged; -v is debug, -vv is trace",
    )
    .default("info")
    .of_process(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_after_flags() {
        let setting = find("restore-bytes-max").unwrap();
        assert_eq!(setting.variable(), "KEYFERRY_RESTORE_BYTES_MAX");
    }

    #[test]
    fn names_are_unique_and_kebab_case_and_passwords_have_no_flag() {
        let mut names: Vec<_> = SETTINGS.iter().map(|s| s.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
        for s in SETTINGS {
            assert!(
                s.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{}",
                s.name
            );
            assert_eq!(s.on_command_line, s.kind != Kind::Secret, "{}", s.name);
            if let Kind::Choice(words) = s.kind {
                assert!(
                    s.value_name == words.join("|") || s.name == "log-level",
                    "{}",
                    s.name
                );
                assert!(
                    s.default.is_none_or(|word| words.contains(&word)),
                    "{}",
                    s.name
                );
            }
        }
    }
}
