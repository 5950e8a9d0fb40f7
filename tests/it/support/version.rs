//! The server versions the tests know, and what each of them can hold.

use std::{fmt, path::PathBuf};

/// Which family of servers a version belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Redis,
    Valkey,
}

/// One server under `.servers/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// The folder's name.
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) release: (u16, u16),
    /// Whether the tests fail when it is missing.
    pub(crate) mandatory: bool,
}

const fn version(
    name: &'static str,
    family: Family,
    release: (u16, u16),
    mandatory: bool,
) -> Version {
    Version {
        name,
        family,
        release,
        mandatory,
    }
}

/// Everything that `scripts/servers` may bring.
pub(crate) const VERSIONS: [Version; 7] = [
    version("redis-6.0", Family::Redis, (6, 0), true),
    version("redis-6.2", Family::Redis, (6, 2), false),
    version("redis-7.0", Family::Redis, (7, 0), true),
    version("redis-8.0", Family::Redis, (8, 0), true),
    version("redis-8.6", Family::Redis, (8, 6), false),
    version("valkey-8.1", Family::Valkey, (8, 1), true),
    version("valkey-9.1", Family::Valkey, (9, 1), false),
];

impl Version {
    /// The version of that folder name.
    pub(crate) fn named(name: &str) -> Version {
        VERSIONS
            .into_iter()
            .find(|version| version.name == name)
            .unwrap_or_else(|| panic!("no server is called {name}"))
    }

    /// The versions that are here. A missing optional one is named on stderr.
    ///
    /// # Panics
    /// When a mandatory one is missing.
    pub(crate) fn available() -> Vec<Version> {
        VERSIONS
            .into_iter()
            .filter(|version| {
                let here = version.program().exists();
                if !here && version.mandatory {
                    panic!("{version} is not in .servers: run make servers");
                }
                if !here {
                    eprintln!("skipped {version}: not in .servers");
                }
                here
            })
            .collect()
    }

    /// Every ordered pair of versions that are here, a version with itself included.
    pub(crate) fn pairs() -> Vec<(Version, Version)> {
        let all = Version::available();
        let with_all = |source: &Version| {
            let source = *source;
            all.iter().map(move |target| (source, *target))
        };
        all.iter().flat_map(with_all).collect()
    }

    /// The launcher of its server.
    pub(crate) fn program(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(".servers")
            .join(self.name)
            .join("redis-server")
    }

    /// The launcher of its command-line client.
    pub(crate) fn redis_cli(&self) -> PathBuf {
        self.program().with_file_name("redis-cli")
    }

    /// Whether it is a Redis from this release on.
    pub(crate) fn is_redis_from(&self, major: u16, minor: u16) -> bool {
        self.family == Family::Redis && self.release >= (major, minor)
    }

    /// Whether it is a Valkey from this release on.
    pub(crate) fn is_valkey_from(&self, major: u16, minor: u16) -> bool {
        self.family == Family::Valkey && self.release >= (major, minor)
    }

    /// Whether it has what Redis had from this release on, up to 7.2 where Valkey forked.
    pub(crate) fn has_common(&self, major: u16, minor: u16) -> bool {
        self.family == Family::Valkey || self.is_redis_from(major, minor)
    }

    /// Whether hash fields can expire.
    pub(crate) fn has_field_ttls(&self) -> bool {
        self.is_redis_from(7, 4) || self.is_valkey_from(9, 0)
    }

    /// Whether it has function libraries.
    pub(crate) fn has_functions(&self) -> bool {
        self.has_common(7, 0)
    }

    /// Whether it has vector sets.
    pub(crate) fn has_vector_sets(&self) -> bool {
        self.is_redis_from(8, 0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
