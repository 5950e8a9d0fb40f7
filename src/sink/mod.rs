//! Writing to the target.
//!
//! Nothing here knows where a command came from, the snapshot or the stream.

mod hold;
mod policy;
mod target;

pub use hold::Hold;
pub use policy::{Conflict, OnLossy, Publish};
pub use target::{Flavor, Target};
