//! Any text is a spec or an error whose place lies inside the text.

#![no_main]

use std::path::Path;

use imgforge::diagnostic::Hint as _;
use imgforge::spec::Spec;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = Spec::parse(Path::new("spec.yaml"), text, Path::new("/nonexistent"))
        && let Some(origin) = error.origin()
    {
        assert!(origin.span.start <= origin.span.end && origin.span.end <= origin.text.len());
    }
});
