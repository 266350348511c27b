//! Any text is a lock or an error, and a lock's text reads back as the same lock.

#![no_main]

use std::path::Path;

use imgforge::lock::Lock;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let path = Path::new("imgforge.lock");
    if let Ok(lock) = Lock::parse(path, text) {
        assert_eq!(Lock::parse(path, &lock.to_text()).ok(), Some(lock));
    }
});
