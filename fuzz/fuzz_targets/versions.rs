//! Versions have a total order, and print as texts that mean the same.

#![no_main]

use std::cmp::Ordering;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use imgforge::debian::DebianVersion;
use imgforge::oci::{Digest, Platform};
use imgforge::version::{ComputeCapability, CudnnVersion, Dotted, DriverVersion, PythonVersion, ToolkitVersion};

fn laws<T: FromStr + Ord + Debug + Display>(texts: &[String; 3]) {
    let versions: Vec<T> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    for version in &versions {
        assert_eq!(version.to_string().parse::<T>().ok().as_ref(), Some(version));
    }
    let [a, b, c] = versions.as_slice() else { return };
    assert_eq!(a.cmp(b), b.cmp(a).reverse());
    assert_eq!(a == b, a.cmp(b) == Ordering::Equal);
    if a <= b && b <= c {
        assert!(a <= c, "{a:?} {b:?} {c:?}");
    }
}

libfuzzer_sys::fuzz_target!(|texts: [String; 3]| {
    laws::<Dotted>(&texts);
    laws::<DebianVersion>(&texts);
    laws::<DriverVersion>(&texts);
    laws::<ToolkitVersion>(&texts);
    laws::<CudnnVersion>(&texts);
    laws::<ComputeCapability>(&texts);
    laws::<PythonVersion>(&texts);
    for text in &texts {
        let _ = (text.parse::<Digest>(), text.parse::<Platform>());
    }
});
