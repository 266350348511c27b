//! Is the catalog consistent in itself?

use super::Catalog;

/// Something wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    /// Which entry: `instance aws/g4dn.xlarge`.
    pub entry: String,
    /// What is wrong.
    pub problem: String,
}

/// All that is wrong, sorted by entry.
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    catalog.duplicates.iter().map(|key| Finding { entry: key.clone(), problem: "declared twice".into() }).collect()
}
