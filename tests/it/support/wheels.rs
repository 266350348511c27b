//! The real wheels of `tests/cases/wheels/pinned.txt`.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use imgforge::assemble::wheel::WheelInput;
use imgforge::http;
use imgforge::index::IndexClient;
use imgforge::lock::LockedWheel;
use imgforge::progress::Progress;
use imgforge::settings::{Environment, Settings};
use imgforge::store::Store;
use imgforge::version::wheel_tag::WheelFilename;

use super::test_cache;

const PINNED: &str = include_str!("../../cases/wheels/pinned.txt");

/// A wheel of the list, in the cache of the tests.
pub(crate) struct Pinned {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) input: WheelInput,
}

/// Brings the wheels of the list, the way a build brings those of a lock.
pub(crate) fn pinned() -> &'static [Pinned] {
    static WHEELS: OnceLock<Vec<Pinned>> = OnceLock::new();
    WHEELS.get_or_init(|| {
        let locked: Vec<LockedWheel> = PINNED.lines().filter(|line| !line.starts_with('#')).map(locked).collect();
        let settings = Settings::load(&Environment::of_process()).expect("the machine's settings");
        let options = http::Options { ca_files: settings.ca_files.clone(), ..http::Options::default() };
        let http = http::Client::new(&options).expect("a client");
        let client = IndexClient::new(http, Store::open(&test_cache().join("imgforge")), Arc::new(settings));
        let wanted: Vec<&LockedWheel> = locked.iter().collect();
        let paths = client.download_all(&wanted, &Progress::hidden()).expect("the wheels");
        let pinned = |(wheel, path): (&LockedWheel, PathBuf)| Pinned {
            name: wheel.name.clone(),
            version: wheel.version.clone(),
            input: WheelInput { path, filename: wheel.file.clone(), digest: wheel.digest },
        };
        locked.iter().zip(paths).map(pinned).collect()
    })
}

fn locked(line: &str) -> LockedWheel {
    let [digest, size, file] = line.split(' ').collect::<Vec<_>>().try_into().expect("three words");
    let filename: WheelFilename = file.parse().expect("a wheel's name");
    LockedWheel {
        name: filename.name,
        version: filename.version.to_string(),
        index: "default".to_owned(),
        url: None,
        file: file.to_owned(),
        size: size.parse().expect("a size"),
        digest: format!("sha256:{digest}").parse().expect("a digest"),
    }
}
