//! Layers of a push, on their way to the registry while they are made.

use std::fmt;
use std::io::{self, Write};

use crate::assemble::outlet::{Outflow, Outlet};
use crate::oci::{Digest, LayerSource};
use crate::progress::Progress;
use crate::publish::registry::{LayerStream, Upload};

/// The registry of a push, as a place for layers.
pub(super) struct ToRegistry<'a> {
    pub(super) upload: &'a Upload,
    pub(super) progress: &'a Progress,
}

struct Layer {
    stream: LayerStream,
    progress: Progress,
}

impl fmt::Debug for ToRegistry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToRegistry")
    }
}

impl Outlet for ToRegistry<'_> {
    fn open(&self) -> Option<Box<dyn Outflow>> {
        let stream = self.upload.open()?;
        Some(Box::new(Layer { stream, progress: self.progress.clone() }))
    }
}

impl Outflow for Layer {
    fn close(self: Box<Self>, digest: Digest, size: u64) -> Option<LayerSource> {
        let Self { stream, progress } = *self;
        match stream.finish(digest, size) {
            Ok(source) => Some(source),
            Err(error) => {
                progress.detail(format!("the layer {digest} is made again, into a file: {error}"));
                None
            }
        }
    }
}

impl Write for Layer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
