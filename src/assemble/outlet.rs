//! Where a layer's bytes go while it is made: into a file, or straight to whoever keeps them.
//!
//! A registry takes a layer before its digest is known, so on the way there no copy is needed on this machine. What cannot
//! be sent at the first try is made again, into a file, from which it can be sent as often as it takes.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};

use crate::oci::{Digest, LayerSource};

/// Takes layers while they are made.
pub trait Outlet: Sync + fmt::Debug {
    /// A place for the next layer; none if it should become a file.
    fn open(&self) -> Option<Box<dyn Outflow>>;
}

/// A layer on its way.
pub trait Outflow: Write + Send {
    /// The layer is whole. Where it is from now on; none if it did not arrive.
    fn close(self: Box<Self>, digest: Digest, size: u64) -> Option<LayerSource>;
}

/// What a layer is written to.
pub enum Sink {
    /// A file in a layout.
    File(File),
    /// Somewhere else.
    Outflow(Box<dyn Outflow>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Outflow(outflow) => outflow.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Outflow(outflow) => outflow.flush(),
        }
    }
}
