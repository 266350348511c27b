//! Real parts that tests start and stop.

pub(crate) mod registry;
