//! Any `.dockerignore` is read or refused, and answers for any path.

#![no_main]

use imgforge::assemble::ignore::IgnoreRules;

libfuzzer_sys::fuzz_target!(|input: (String, String)| {
    let (text, path) = input;
    if let Ok(rules) = IgnoreRules::parse(&text) {
        let _ = rules.excludes(&path);
    }
});
