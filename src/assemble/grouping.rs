//! Which wheels share a layer.
//!
//! A big wheel is alone; the small ones lie in a fixed number of buckets by the hash of their name, so that a change of one
//! package changes one layer and everything else is found where it was. An engine holds 127 layers at most and a base
//! needs some of them: if there are too many big wheels, what counts as big doubles until they fit. Byte-code is small: it
//! lies in buckets alone. The numbers are a choice between layers and bytes: see "A year of upgrades" in `docs/benchmarks.md`.

use std::collections::BTreeMap;

use crate::lock::LockedWheel;
use crate::oci::Digest;

/// A wheel of this many bytes has a layer of its own.
const BIG: u64 = 1 << 20;
/// Layers for small wheels.
const BUCKETS: u8 = 16;
/// Layers for byte-code.
const BYTE_CODE_BUCKETS: u8 = 16;
/// Layers for all wheels together; with those of byte-code, the few others and twenty of a base it stays below 120.
pub const WHEEL_LAYERS: usize = 80;

/// Wheels of one layer, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'a> {
    /// The wheels; never empty.
    pub wheels: Vec<&'a LockedWheel>,
}

impl<'a> Group<'a> {
    fn sorted(mut wheels: Vec<&'a LockedWheel>) -> Self {
        wheels.sort_by(|one, other| (&one.name, &one.file).cmp(&(&other.name, &other.file)));
        Self { wheels }
    }

    /// What is in the layer, for its annotation: `numpy 2.1.0, scipy 1.14.1`.
    pub fn contents(&self) -> String {
        let labels: Vec<String> = self.wheels.iter().map(|wheel| format!("{} {}", wheel.name, wheel.version)).collect();
        labels.join(", ")
    }

    /// Bytes of its wheels.
    pub fn size(&self) -> u64 {
        self.wheels.iter().map(|wheel| wheel.size).sum()
    }
}

/// Groups in the order of their layers: big wheels by name, then the buckets, which change more often.
pub fn group(wheels: &[LockedWheel]) -> Vec<Group<'_>> {
    let big_layers = WHEEL_LAYERS - usize::from(BUCKETS);
    let mut big = BIG;
    while wheels.iter().filter(|wheel| wheel.size >= big).count() > big_layers {
        big = big.saturating_mul(2);
    }
    let mut groups: BTreeMap<(u8, &str), Vec<&LockedWheel>> = BTreeMap::new();
    for wheel in wheels {
        let place = if wheel.size >= big { (0, wheel.name.as_str()) } else { (1 + bucket(&wheel.name, BUCKETS), "") };
        groups.entry(place).or_default().push(wheel);
    }
    groups.into_values().map(Group::sorted).collect()
}

/// Groups of the byte-code of wheels, in the order of their layers.
pub fn group_byte_code(wheels: &[LockedWheel]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<u8, Vec<&LockedWheel>> = BTreeMap::new();
    for wheel in wheels {
        groups.entry(bucket(&wheel.name, BYTE_CODE_BUCKETS)).or_default().push(wheel);
    }
    groups.into_values().map(Group::sorted).collect()
}

fn bucket(name: &str, buckets: u8) -> u8 {
    Digest::of(name.as_bytes()).as_bytes()[0] % buckets
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wheel(name: &str, version: &str, size: u64) -> LockedWheel {
        LockedWheel {
            name: name.to_owned(),
            version: version.to_owned(),
            index: "default".to_owned(),
            url: None,
            file: format!("{name}-{version}-py3-none-any.whl"),
            size,
            digest: Digest::of(format!("{name} {version}").as_bytes()),
        }
    }

    #[test]
    fn big_wheels_are_alone_and_come_first() {
        let wheels =
            [wheel("six", "1.16.0", 11_053), wheel("torch", "2.5.1", 900 << 20), wheel("numpy", "2.1.0", 16 << 20)];
        let contents: Vec<String> = group(&wheels).iter().map(Group::contents).collect();
        assert_eq!(contents, ["numpy 2.1.0", "torch 2.5.1", "six 1.16.0"]);
    }

    #[test]
    fn many_big_wheels_stay_within_the_bound() {
        let wheels: Vec<LockedWheel> =
            (0..500).map(|number| wheel(&format!("p{number}"), "1", (4 << 20) + number * (1 << 20))).collect();
        let groups = group(&wheels);
        assert!(groups.len() <= WHEEL_LAYERS, "{}", groups.len());
        assert_eq!(groups.iter().map(|group| group.wheels.len()).sum::<usize>(), 500);
        let same_size: Vec<LockedWheel> =
            (0..500).map(|number| wheel(&format!("p{number}"), "1", u64::MAX - 1)).collect();
        assert!(group(&same_size).len() <= 500);
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_a_new_version_changes_one_group(
            sizes in prop::collection::btree_map("[a-z]{1,6}", 0u64..12 << 20, 1..120),
            chosen in any::<prop::sample::Index>(),
        ) {
            let wheels: Vec<LockedWheel> = sizes.iter().map(|(name, size)| wheel(name, "1", *size)).collect();
            let groups = group(&wheels);
            prop_assert!(groups.len() <= WHEEL_LAYERS);
            let byte_code = group_byte_code(&wheels);
            prop_assert!(byte_code.len() <= usize::from(BYTE_CODE_BUCKETS));
            let reversed: Vec<LockedWheel> = wheels.iter().rev().cloned().collect();
            prop_assert_eq!(&group(&reversed), &groups);
            prop_assert_eq!(&group_byte_code(&reversed), &byte_code);

            let mut changed = wheels.clone();
            let target = chosen.index(changed.len());
            changed[target] = wheel(&wheels[target].name, "2", wheels[target].size);
            let differing = group(&changed).iter().zip(&groups).filter(|(one, other)| one != other).count();
            prop_assert_eq!(differing, 1);
            let changed = group_byte_code(&changed);
            prop_assert_eq!(changed.iter().zip(&byte_code).filter(|(one, other)| one != other).count(), 1);
        }
    }
}
