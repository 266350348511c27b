//! What METADATA says of a distribution's licence, as an SPDX expression where it can be read as one.
//!
//! Three fields tell it, and the newest is the only one with a grammar: `License-Expression` (PEP 639), `License` (free
//! text, often a whole licence) and the `License ::` classifiers. A name that stands for several licences, such as "BSD", is
//! kept as a name: guessing would be worse than not knowing.

use spdx::{Expression, LicenseItem};

use super::metadata::for_each_header;

/// Longest name of a licence that is passed on; longer texts are licences, not names.
const NAME_LIMIT: usize = 120;
/// Longest expression that is read, in bytes.
const EXPRESSION_LIMIT: usize = 1000;

/// A licence as its author declared it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum License {
    /// An SPDX licence expression.
    Expression {
        /// Valid by the SPDX licence list.
        text: String,
        /// Licences in it that are the author's own: `LicenseRef-Acme`.
        own: Vec<String>,
    },
    /// A name that is no SPDX expression.
    Named(String),
}

/// Spellings of the `License` field that name one licence.
const NAMES: &[(&str, &str)] = &[
    ("apache 2", "Apache-2.0"),
    ("apache 2.0", "Apache-2.0"),
    ("apache 2.0 license", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"),
    ("apache license, version 2.0", "Apache-2.0"),
    ("apache license version 2.0", "Apache-2.0"),
    ("apache software license 2.0", "Apache-2.0"),
    ("apache-2", "Apache-2.0"),
    ("apache2", "Apache-2.0"),
    ("bsd 2-clause", "BSD-2-Clause"),
    ("bsd 2-clause license", "BSD-2-Clause"),
    ("bsd 3-clause", "BSD-3-Clause"),
    ("bsd 3-clause license", "BSD-3-Clause"),
    ("3-clause bsd license", "BSD-3-Clause"),
    ("new bsd", "BSD-3-Clause"),
    ("new bsd license", "BSD-3-Clause"),
    ("mit license", "MIT"),
    ("the mit license", "MIT"),
    ("the mit license (mit)", "MIT"),
    ("mpl 2.0", "MPL-2.0"),
    ("isc license", "ISC"),
    ("the unlicense", "Unlicense"),
];

/// Classifiers that name one licence, by their last part. Source: the list of trove classifiers that the Python Package Index publishes.
const CLASSIFIERS: &[(&str, &str)] = &[
    ("Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"),
    ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
    ("European Union Public Licence 1.2 (EUPL 1.2)", "EUPL-1.2"),
    ("GNU Affero General Public License v3", "AGPL-3.0-only"),
    ("GNU Affero General Public License v3 or later (AGPLv3+)", "AGPL-3.0-or-later"),
    ("GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
    ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
    ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
    ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
    ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"),
    ("GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"),
    ("ISC License (ISCL)", "ISC"),
    ("MIT License", "MIT"),
    ("MIT No Attribution License (MIT-0)", "MIT-0"),
    ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
    ("The Unlicense (Unlicense)", "Unlicense"),
    ("Universal Permissive License (UPL)", "UPL-1.0"),
    ("zlib/libpng License", "Zlib"),
];

impl License {
    /// The licence that a METADATA file declares.
    pub fn of_metadata(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (mut expression, mut free, mut classifiers) = (None, None, Vec::new());
        for_each_header(text.strip_prefix('\u{feff}').unwrap_or(&text), |field, value| {
            if value.is_empty() || value.eq_ignore_ascii_case("unknown") {
            } else if field.eq_ignore_ascii_case("license-expression") {
                expression.get_or_insert_with(|| value.to_owned());
            } else if field.eq_ignore_ascii_case("license") {
                free.get_or_insert_with(|| value.to_owned());
            } else if field.eq_ignore_ascii_case("classifier")
                && let Some(name) = value.strip_prefix("License :: ")
            {
                classifiers.push(name.rsplit(" :: ").next().unwrap_or(name).to_owned());
            }
        });
        if let Some(text) = expression {
            return Self::expression(&text).or_else(|| Self::named(&text));
        }
        let free = free.as_deref();
        let known = free.and_then(|text| {
            let lower = text.to_lowercase();
            let listed = NAMES.iter().find(|(name, _)| *name == lower).map(|(_, id)| *id);
            Self::expression(listed.unwrap_or(text))
        });
        let classified = || match classifiers.as_slice() {
            [only] => CLASSIFIERS.iter().find(|(name, _)| name == only).and_then(|(_, id)| Self::expression(id)),
            _ => None,
        };
        known
            .or_else(classified)
            .or_else(|| free.and_then(Self::named))
            .or_else(|| Self::named(&classifiers.join("; ")))
    }

    fn expression(text: &str) -> Option<Self> {
        if text.len() > EXPRESSION_LIMIT {
            return None;
        }
        let parsed = Expression::parse(text).ok()?;
        let mut own = Vec::new();
        for requirement in parsed.requirements() {
            if requirement.req.addition.as_ref().is_some_and(|addition| addition.id().is_none()) {
                return None;
            }
            if let LicenseItem::Other(reference) = &requirement.req.license {
                // A licence of another document means nothing in ours.
                if reference.doc_ref.is_some() {
                    return None;
                }
                own.push(reference.to_string());
            }
        }
        own.sort_unstable();
        own.dedup();
        Some(Self::Expression { text: text.to_owned(), own })
    }

    fn named(text: &str) -> Option<Self> {
        let plain = !text.is_empty() && text.chars().count() <= NAME_LIMIT && !text.contains(char::is_control);
        plain.then(|| Self::Named(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn license(headers: &str) -> Option<License> {
        License::of_metadata(format!("Name: a\nVersion: 1\n{headers}\n\nLicense: not this\n").as_bytes())
    }

    fn expression(text: &str) -> License {
        License::Expression { text: text.to_owned(), own: Vec::new() }
    }

    fn named(text: &str) -> License {
        License::Named(text.to_owned())
    }

    #[test]
    fn the_field_with_a_grammar_goes_first() {
        let both = "License: GPL\nLicense-Expression: Apache-2.0 OR BSD-3-Clause\nClassifier: License :: OSI Approved";
        assert_eq!(license(both), Some(expression("Apache-2.0 OR BSD-3-Clause")));
        assert_eq!(license("License-Expression: GPLv99"), Some(named("GPLv99")));
        let own = vec!["LicenseRef-NVIDIA-Proprietary".to_owned()];
        let text = "LicenseRef-NVIDIA-Proprietary".to_owned();
        assert_eq!(
            license("License-Expression: LicenseRef-NVIDIA-Proprietary"),
            Some(License::Expression { text, own })
        );
        assert_eq!(
            license("License-Expression: DocumentRef-x:LicenseRef-y"),
            Some(named("DocumentRef-x:LicenseRef-y"))
        );
    }

    #[test]
    fn free_text_counts_where_it_names_one_licence() {
        assert_eq!(license("License: MIT"), Some(expression("MIT")));
        assert_eq!(license("License: Apache License, Version 2.0"), Some(expression("Apache-2.0")));
        assert_eq!(license("License: BSD"), Some(named("BSD")));
        assert_eq!(license("License: UNKNOWN"), None);
        let classified = "Classifier: License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)";
        assert_eq!(license(classified), Some(expression("MPL-2.0")));
        assert_eq!(license(&format!("License: see LICENSE\n{classified}")), Some(expression("MPL-2.0")));
        let two =
            "Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved :: BSD License";
        assert_eq!(license(two), Some(named("MIT License; BSD License")));
        let long =
            format!("License: {}\nClassifier: License :: OSI Approved :: BSD License", "Redistribution ".repeat(99));
        assert_eq!(license(&long), Some(named("BSD License")));
    }

    #[test]
    fn every_listed_licence_is_one_of_spdx() {
        for (_, id) in NAMES.iter().chain(CLASSIFIERS) {
            assert!(License::expression(id).is_some(), "{id}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[ -~]{0,130}", wild in "\\PC{0,60}") {
            let _ = license(&format!("License-Expression: {text}"));
            let _ = license(&format!("License: {wild}\nClassifier: License :: {wild}"));
        }
    }
}
