//! Any text is a catalog's file or an error whose place lies inside it; whatever was read can be checked, and asked.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use imgforge::catalog::{Catalog, check};
use imgforge::diagnostic::Hint as _;
use imgforge::resolve::{Preferences, resolve_stack};
use imgforge::spec::Spec;

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    let text = "name: demo\ntargets: [cpu, {gpu: T4}]\npython: \">=3.8\"\nframeworks: {pytorch: \">=1\"}\n";
    Spec::parse(Path::new("spec.yaml"), text, Path::new("/nonexistent")).expect("a spec")
});

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Catalog::from_texts(&[("overlay.yaml", text)]) {
        Ok(catalog) => {
            let _ = check(&catalog);
            for name in ["T4", "aws/g4dn.xlarge", text.get(..20).unwrap_or_default()] {
                let _ = (catalog.gpu(name), catalog.instance("aws", name));
            }
            let _ = resolve_stack(&SPEC, &catalog, &Preferences::default());
        }
        Err(error) => {
            if let Some(origin) = error.origin() {
                assert!(origin.span.start <= origin.span.end && origin.span.end <= origin.text.len());
            }
        }
    }
});
