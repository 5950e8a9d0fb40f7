//! Writing to the target.
//!
//! Nothing here knows where a command came from, the snapshot or the stream.

mod hold;
mod line;
mod lossy;
mod policy;
mod target;

pub mod rebuild;
pub mod translate;

pub use hold::Hold;
pub use lossy::{Loss, Lossy};
pub use policy::{Conflict, OnLossy, Publish};
pub use target::{Flavor, Target};
