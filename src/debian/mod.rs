//! Debian packages, of Debian and Ubuntu: a closure from signed indexes at lock time, a root file system from locked files at
//! assemble time.
//!
//! [`fetch_packages`] verifies `InRelease` and reads `Packages`; [`resolve`] picks the closure; [`fetch`] brings locked
//! files by hash; [`build_root`] turns them into a tree. Nothing of Debian's own tools is run, maintainer scripts
//! included: what the known ones would have made is made here, and a package with an unknown one is refused by name.
//! Formats: Debian wiki, DebianRepository/Format; deb(5), deb-control(5).

mod accounts;
mod archive;
mod base;
mod deb;
mod elf;
mod error;
mod fetch;
mod generated;
mod keyring;
mod loader_cache;
mod packages;
mod relation;
mod release;
mod resolve;
mod root;
mod script;
mod script_table;
mod stanza;
mod status;
mod table;
mod tree;
mod version;

#[cfg(test)]
mod testing;

pub use accounts::AccountFiles;
pub use archive::{Archive, fetch_packages};
pub use base::{base_packages, python_of_suite, python_packages, suite_of_python};
pub use deb::{ControlFiles, Entry, EntryKind, MAX_FILE_BYTES, read_control, visit_entries};
pub use error::Error;
pub use fetch::{Snapshot, SnapshotFiles, fetch};
pub use keyring::Keyring;
pub use packages::{Package, PackageSet};
pub use relation::{Relation, RelationGroup, VersionRelation};
pub use resolve::{InstalledPackage, Wanted, resolve};
pub use root::{FilesBelow, RootOptions, build_root};
pub use stanza::{Stanza, StanzaReader};
pub use status::installed_packages;
pub use tree::{Content, Node, NodeKind, Root};
pub use version::DebianVersion;
