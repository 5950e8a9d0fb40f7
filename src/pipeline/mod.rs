//! Joins being a replica of the source to writing to the target.
