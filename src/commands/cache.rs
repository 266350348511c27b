//! `imgforge cache`: where it is, and emptying it.

use crate::cli::CacheCommand;
use crate::diagnostic::Failure;
use crate::progress::human_bytes;
use crate::store::Store;

use super::build::Error;
use super::{Context, print};

pub(super) fn run(context: &Context, command: &CacheCommand) -> Result<u8, Failure> {
    let store = Store::open(&Store::default_root());
    let root = store.root();
    match command {
        CacheCommand::Dir => print(&root.display().to_string()),
        CacheCommand::Prune => {
            let mut freed = 0;
            // Only what imgforge keeps there: the folder may be one that a user shares with something else.
            for part in Store::PARTS {
                let path = root.join(part);
                let failed = |source| Error::Io { action: "remove", path: path.clone(), source };
                if path.exists() {
                    freed += size(&path).map_err(failed)?;
                    std::fs::remove_dir_all(&path).map_err(failed)?;
                }
            }
            context.progress.say(format!("removed {} from `{}`", human_bytes(freed), root.display()));
        }
    }
    Ok(0)
}

fn size(folder: &std::path::Path) -> std::io::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}
