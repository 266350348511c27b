//! Any requirements files are read or refused at a place that lies inside one of them. A NUL parts the two files.

#![no_main]

use std::path::Path;

use imgforge::diagnostic::Hint as _;
use imgforge::spec::Spec;

libfuzzer_sys::fuzz_target!(|input: &str| {
    let (first, second) = input.split_once('\0').unwrap_or((input, ""));
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("a.txt"), first).expect("a file");
    std::fs::write(folder.path().join("b.txt"), second).expect("a file");
    let text = "name: demo\npackages: [{file: a.txt}]\n";
    match Spec::parse(Path::new("spec.yaml"), text, folder.path()) {
        Ok(spec) => {
            for package in spec.packages.iter().chain(&spec.constraints) {
                assert!(package.origin.is_some(), "{} comes from nowhere", package.value);
            }
        }
        Err(error) => {
            if let Some(origin) = error.origin() {
                assert!(origin.span.start <= origin.span.end && origin.span.end <= origin.text.len());
                assert!(
                    origin.text.is_char_boundary(origin.span.start) && origin.text.is_char_boundary(origin.span.end)
                );
            }
            let _ = imgforge::diagnostic::Failure::from(error).render();
        }
    }
});
