//! What the program runs on, already valid.

mod migration;

pub use migration::{Migration, Mode};
