//! Any `WWW-Authenticate` is a list of challenges, each no longer than the header it came from.

#![no_main]

#[path = "../../src/registry/challenge.rs"]
mod challenge;

use challenge::Challenge;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let challenges = challenge::parse(text);
    assert!(challenges.len() <= text.len());
    for found in challenges {
        let (main, others) = match found {
            Challenge::Bearer { realm, service, scope } => (realm, [service, scope]),
            Challenge::Other(scheme) => (scheme, [None, None]),
            Challenge::Basic => continue,
        };
        assert!(main.len() <= text.len() && others.into_iter().flatten().all(|part| part.len() <= text.len()));
    }
});
