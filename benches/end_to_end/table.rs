//! What was measured, as a table and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::{arguments::Arguments, usage::Usage, works::Work};

/// One run of one method.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) usage: Usage,
    /// Keys, elements or writes.
    pub(crate) items: u64,
    /// How long the snapshot or the stream is.
    pub(crate) bytes: u64,
    /// Processor time of source and target.
    pub(crate) servers_cpu_s: f64,
    pub(crate) lag_p50_ms: Option<f64>,
    pub(crate) lag_p99_ms: Option<f64>,
}

impl Measure {
    /// Nothing measured yet.
    pub(crate) fn of(name: &'static str) -> Measure {
        Measure {
            name,
            usage: Usage::default(),
            items: 0,
            bytes: 0,
            servers_cpu_s: 0.0,
            lag_p50_ms: None,
            lag_p99_ms: None,
        }
    }
}

/// One run of each method, in the same order in every round.
pub(crate) struct Round(pub(crate) Vec<Measure>);

/// What a column shows of a run.
struct Column {
    /// As JSON names it.
    key: &'static str,
    head: &'static str,
    decimals: usize,
    of: fn(&Measure) -> Option<f64>,
}

const fn column(
    key: &'static str,
    head: &'static str,
    decimals: usize,
    of: fn(&Measure) -> Option<f64>,
) -> Column {
    Column {
        key,
        head,
        decimals,
        of,
    }
}

const MIB: f64 = 1024.0 * 1024.0;

const COLUMNS: &[Column] = &[
    column("wall_s", "wall s", 2, |it| Some(it.usage.wall_s)),
    column("cpu_s", "cpu s", 2, |it| it.usage.cpu_s),
    column("cpu_us_per_item", "us/item", 2, |it| {
        Some(it.usage.cpu_s? / it.items as f64 * 1e6)
    }),
    column("servers_cpu_s", "servers' cpu", 2, |it| {
        Some(it.servers_cpu_s).filter(|s| *s > 0.0)
    }),
    column("peak_mib", "peak MiB", 0, |it| {
        Some(it.usage.peak_bytes? as f64 / MIB)
    }),
    column("items_per_s", "1000 items/s", 0, |it| {
        Some(it.items as f64 / it.usage.wall_s / 1e3)
    }),
    column("mb_per_s", "MB/s", 0, |it| {
        Some(it.bytes as f64 / it.usage.wall_s / 1e6).filter(|it| *it > 0.0)
    }),
    column("lag_p50_ms", "p50 ms", 2, |it| it.lag_p50_ms),
    column("lag_p99_ms", "p99 ms", 2, |it| it.lag_p99_ms),
];

/// Columns of which the first method is compared with each other one.
const COMPARED: &[&str] = &[
    "wall_s",
    "cpu_us_per_item",
    "peak_mib",
    "lag_p50_ms",
    "lag_p99_ms",
];

/// The middle of some numbers, and the bounds.
#[derive(Debug, Clone, Copy)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// `None` when there are none.
    fn of(mut numbers: Vec<f64>) -> Option<Spread> {
        numbers.sort_by(f64::total_cmp);
        let half = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            1 => *numbers.get(half)?,
            _ => (numbers.get(half.checked_sub(1)?)? + numbers.get(half)?) / 2.0,
        };
        Some(Spread {
            min: *numbers.first()?,
            median,
            max: *numbers.last()?,
        })
    }

    fn text(self, decimals: usize) -> String {
        let Spread { min, median, max } = self;
        format!("{median:.decimals$} ({min:.decimals$}-{max:.decimals$})")
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// Everything that was measured.
pub(crate) struct Table {
    /// What was asked for, for whoever reads the results later.
    conditions: Value,
    works: Vec<Value>,
    last: String,
}

impl Table {
    pub(crate) fn new(arguments: &Arguments) -> Table {
        Table {
            conditions: json!({
                "keyferry": env!("CARGO_PKG_VERSION"),
                "source": arguments.source.name,
                "target": arguments.target.name,
                "scale_percent": arguments.scale_percent,
                "rounds": arguments.rounds,
                "seed": arguments.seed,
                "cpus": std::thread::available_parallelism().map_or(0, |it| it.get()),
            }),
            works: Vec::new(),
            last: String::new(),
        }
    }

    /// Adds the rounds of a work.
    pub(crate) fn add(&mut self, work: &Work, items: u64, rounds: Vec<Round>) {
        let names: Vec<&str> = match rounds.first() {
            Some(round) => round.0.iter().map(|measure| measure.name).collect(),
            None => return,
        };
        self.last = format!("\n{}: {items} {}\n", work.name, work.what);
        let mut methods = serde_json::Map::new();
        for (index, name) in names.iter().enumerate() {
            let mut line = format!("  {name:<18}");
            let mut found = serde_json::Map::new();
            for column in COLUMNS {
                let numbers = rounds.iter().filter_map(|it| (column.of)(&it.0[index]));
                if let Some(spread) = Spread::of(numbers.collect()) {
                    let text = spread.text(column.decimals);
                    let _ = write!(line, " | {} {text}", column.head);
                    found.insert(column.key.to_owned(), spread.json());
                }
            }
            self.last.push_str(&line);
            self.last.push('\n');
            methods.insert((*name).to_owned(), Value::Object(found));
        }
        let ratios = self.compare(&names, &rounds);
        self.works.push(json!({
            "work": work.name,
            "what": work.what,
            "items": items,
            "methods": methods,
            "ratios": ratios,
        }));
    }

    /// The first method's numbers by those of each other one in the same round.
    fn compare(&mut self, names: &[&str], rounds: &[Round]) -> Value {
        let mut ratios = serde_json::Map::new();
        for (index, name) in names.iter().enumerate().skip(1) {
            let mut line = format!("  {} / {name}:", names[0]);
            let mut found = serde_json::Map::new();
            let compared = COLUMNS.iter().filter(|it| COMPARED.contains(&it.key));
            for column in compared {
                let ratio =
                    |round: &Round| Some((column.of)(&round.0[0])? / (column.of)(&round.0[index])?);
                if let Some(spread) = Spread::of(rounds.iter().filter_map(ratio).collect()) {
                    let _ = write!(line, " {} {}", column.head, spread.text(2));
                    found.insert(column.key.to_owned(), spread.json());
                }
            }
            self.last.push_str(&line);
            self.last.push('\n');
            ratios.insert((*name).to_owned(), Value::Object(found));
        }
        Value::Object(ratios)
    }

    /// The work that was added last.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// All works.
    pub(crate) fn json(&self) -> String {
        let all = json!({ "conditions": self.conditions, "works": self.works });
        format!("{all:#}\n")
    }
}
