//! Any text is a wheel's file name or is not; one that is fits an environment or says why not.

#![no_main]

use imgforge::packaging::classify;
use imgforge::version::PythonVersion;
use imgforge::version::wheel_tag::{WheelEnvironment, WheelFilename, normalize_name};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = classify(text, "demo");
    let name = normalize_name(text);
    assert_eq!(normalize_name(&name), name);
    let Ok(wheel) = text.parse::<WheelFilename>() else { return };
    assert_eq!(normalize_name(&wheel.name), wheel.name);
    for (minor, architecture, glibc) in [(8, "amd64", (2, 17)), (13, "arm64", (2, 41))] {
        let environment = WheelEnvironment {
            python: PythonVersion { major: 3, minor },
            architecture: architecture.to_owned(),
            glibc,
        };
        let _ = wheel.fit(&environment);
    }
    let lines = wheel.cpython_lines();
    assert!(lines.len() <= text.len());
});
