//! Any bytes are METADATA or an error; requirements and specifiers print as texts that mean the same.

#![no_main]

use imgforge::packaging::{Metadata, parse_requirement, parse_specifiers};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(metadata) = Metadata::parse(bytes) {
        for requirement in &metadata.requires_dist {
            let again = parse_requirement(&requirement.to_string());
            assert_eq!(again.as_ref(), Some(requirement), "{requirement}");
        }
        if let Some(specifiers) = &metadata.requires_python {
            assert_eq!(parse_specifiers(&specifiers.to_string()).as_ref(), Some(specifiers));
        }
    }
});
