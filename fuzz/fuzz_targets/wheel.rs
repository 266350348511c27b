//! Any bytes are installed or refused, and what is installed is the same twice.

#![no_main]

use std::io::Cursor;

use imgforge::assemble::LayerWriter;
use imgforge::assemble::wheel::{Error, Site, Wheel, write_opened};
use imgforge::oci::Compression;
use imgforge::version::PythonVersion;

/// A file name that goes with the bytes, so that real wheels are seeds: names and versions must agree.
fn filename(bytes: &[u8]) -> String {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(byte);
    let end = bytes.windows(11).position(|window| window == b".dist-info/").unwrap_or(0);
    let start = bytes[..end].iter().rposition(|byte| !is_part(byte)).map_or(0, |before| before + 1);
    match std::str::from_utf8(&bytes[start..end]) {
        Ok(name) if !name.is_empty() => format!("{name}-py3-none-any.whl"),
        _ => "demo-1.0-py3-none-any.whl".to_owned(),
    }
}

fn install(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let site = Site { prefix: "/opt/venv".to_owned(), python: PythonVersion { major: 3, minor: 11 } };
    let mut wheel = Wheel::open(Cursor::new(bytes), &filename(bytes))?;
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
