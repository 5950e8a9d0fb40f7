//! What the bench was asked for.

use std::path::PathBuf;

use crate::{support::version::Version, works::WORKS};

/// What the bench was asked for.
pub(crate) struct Arguments {
    works: Vec<String>,
    /// The size of each work in percent.
    pub(crate) scale_percent: u64,
    pub(crate) rounds: usize,
    pub(crate) source: Version,
    pub(crate) target: Version,
    /// RedisShake's binary, to be measured as well.
    pub(crate) redis_shake: Option<PathBuf>,
    /// Another build of keyferry, to be measured as well.
    pub(crate) baseline: Option<PathBuf>,
    /// Where the results go as JSON.
    pub(crate) json: Option<PathBuf>,
    pub(crate) seed: u64,
}

impl Arguments {
    /// Those of the command line; otherwise what to say instead of running.
    pub(crate) fn given() -> Result<Arguments, String> {
        let mut arguments = Arguments {
            works: Vec::new(),
            scale_percent: 100,
            rounds: 5,
            source: Version::named("redis-8.0"),
            target: Version::named("redis-8.0"),
            redis_shake: None,
            baseline: None,
            json: None,
            seed: 1,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            let number = |text: String| text.parse::<u64>().map_err(|_| help());
            match word.as_str() {
                // What cargo adds.
                "--bench" => {}
                "--scale" => arguments.scale_percent = number(value()?)?.max(1),
                "--rounds" => arguments.rounds = number(value()?)?.max(1) as usize,
                "--seed" => arguments.seed = number(value()?)?,
                "--source" => arguments.source = Version::named(&value()?),
                "--target" => arguments.target = Version::named(&value()?),
                "--redis-shake" => arguments.redis_shake = Some(value()?.into()),
                "--baseline" => arguments.baseline = Some(value()?.into()),
                "--json" => arguments.json = Some(value()?.into()),
                name if WORKS.iter().any(|work| work.name == name) => {
                    arguments.works.push(word);
                }
                _ => return Err(help()),
            }
        }
        Ok(arguments)
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.works.is_empty() || self.works.iter().any(|wanted| wanted == name)
    }

    /// So much of a count as the scale says, and something of it at least.
    pub(crate) fn scaled(&self, count: u64) -> u64 {
        (count * self.scale_percent / 100).max(1)
    }
}

fn help() -> String {
    let mut help =
        "cargo bench --bench end_to_end -- [WORK...] [--scale PERCENT] [--rounds N]\n    \
                    [--source SERVER] [--target SERVER] [--seed N] [--json FILE]\n    \
                    [--baseline KEYFERRY] [--redis-shake REDIS-SHAKE]\n\n"
            .to_owned();
    for work in WORKS {
        help.push_str(&format!("  {:<16} {}\n", work.name, work.what));
    }
    help
}
