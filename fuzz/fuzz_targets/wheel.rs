//! Any bytes are installed or refused, and what is installed is the same twice.

#![no_main]

use std::io::Cursor;

use imgforge::assemble::LayerWriter;
use imgforge::assemble::wheel::{Error, Site, Wheel, write_opened};
use imgforge::oci::Compression;
use imgforge::version::PythonVersion;

fn install(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let site = Site { prefix: "/opt/venv".to_owned(), python: PythonVersion { major: 3, minor: 11 } };
    let mut wheel = Wheel::open(Cursor::new(bytes), "demo-1.0-py3-none-any.whl")?;
    let installation = wheel.installation(&site)?;
    let mut layer = LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer");
    write_opened(&mut [(wheel, installation)], &mut layer)?;
    Ok(layer.finish().expect("memory takes everything").sink)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(layer) = install(bytes) {
        assert_eq!(install(bytes).ok(), Some(layer));
    }
});
