//! How fast whole migrations between real servers are, beside the servers' own replication.
//!
//! Servers are started, a data set is made from a seed, and every method moves it, in turns: the
//! first round begins with the first method, the second with the second one. What is compared is
//! the ratio of two methods in the same round.
//!
//!     cargo bench --bench end_to_end                            # all works, in full size
//!     cargo bench --bench end_to_end -- strings lag --rounds 3
//!     cargo bench --bench end_to_end -- --scale 2 --rounds 1    # a try, in 2 percent of the size
//!     cargo bench --bench end_to_end -- --help
//!
//! What is measured, and how, is explained in `docs/performance.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench has nobody to report to but the terminal"
)]

#[macro_use]
#[path = "../../tests/it/support/mod.rs"]
mod support;

mod arguments;
mod following;
mod full;
mod load;
mod table;
mod usage;
mod works;

use arguments::Arguments;
use table::Table;

fn main() {
    let arguments = match Arguments::given() {
        Ok(arguments) => arguments,
        Err(said) => {
            println!("{said}");
            return;
        }
    };
    let mut table = Table::new(&arguments);
    for work in works::WORKS {
        if !arguments.wants(work.name) {
            continue;
        }
        eprintln!("{} ...", work.name);
        let rounds = (work.run)(work, &arguments);
        table.add(work, work.items(&arguments), rounds);
        println!("{}", table.last());
        if let Some(path) = &arguments.json {
            std::fs::write(path, table.json()).unwrap();
        }
    }
}
