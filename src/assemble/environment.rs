//! The empty virtual environment and the image's user: what an image needs besides packages and files.

use std::collections::BTreeSet;
use std::io::Write;

use super::layer::{self, LayerWriter};
use super::tar::Owner;
use super::wheel::Site;
use crate::diagnostic::Hint;
use crate::hierarchy::{STANDARD_FOLDERS, standard_mode};
use crate::plan::{USER_ID, folders_for};

/// Why the environment or the user could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base's interpreter is not an absolute path of a file.
    #[error("`{0}` is not the absolute path of an interpreter")]
    Interpreter(String),
    /// A name that no account file can hold.
    #[error("`{0}` is not a user name: expected at most 32 of `a-z`, `0-9`, `_`, `-` and `.`")]
    UserName(String),
    /// The layer could not be written.
    #[error(transparent)]
    Layer(#[from] layer::Error),
}

impl Hint for Error {
    fn help(&self) -> Vec<String> {
        match self {
            Self::UserName(_) => vec!["choose another `user:`; the default is `app`".to_owned()],
            Self::Interpreter(_) | Self::Layer(_) => Vec::new(),
        }
    }
}

/// The user that the image runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Working directory, absolute.
    pub workdir: String,
}

/// The base's account files, as far as it has them.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: Option<Vec<u8>>,
    /// `/etc/group`.
    pub group: Option<Vec<u8>>,
    /// `/etc/shadow`.
    pub shadow: Option<Vec<u8>>,
    /// Whether the base has `/bin/bash`.
    pub bash: bool,
}

impl Accounts {
    fn free_number(&self) -> u32 {
        let files = [&self.passwd, &self.group].into_iter().flatten();
        let texts: Vec<_> = files.map(|file| String::from_utf8_lossy(file)).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        let taken: BTreeSet<u32> = lines.filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect();
        (USER_ID..u32::MAX).find(|number| !taken.contains(number)).unwrap_or(USER_ID)
    }
}

/// What an account file says of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Numeric user and group: the owner of files made for this user.
    pub owner: Owner,
    /// Home folder, absolute.
    pub home: String,
}

impl User {
    /// The account that the image's user has: the base's if it knows the name, else the one that [`write_user`] adds, with
    /// the first number from [`USER_ID`] that no user and no group of the base has. A group of the user's name is its own.
    pub fn account(&self, accounts: &Accounts) -> Account {
        let known = |passwd: &Vec<u8>| {
            let text = String::from_utf8_lossy(passwd);
            let line = text.lines().find(|line| line.split(':').next() == Some(&self.name))?;
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, user, group, _, home, ..] = fields.as_slice() else { return None };
            let owner = Owner { user: user.parse().ok()?, group: group.parse().ok()? };
            Some(Account { owner, home: (*home).to_owned() })
        };
        accounts.passwd.as_ref().and_then(known).unwrap_or_else(|| match self.name.as_str() {
            "root" => Account { owner: Owner::ROOT, home: "/root".to_owned() },
            name => {
                let user = accounts.free_number();
                let group = accounts.group.as_ref().and_then(|group| number_of_group(group, name)).unwrap_or(user);
                Account { owner: Owner { user, group }, home: format!("/home/{name}") }
            }
        })
    }
}

/// Declares the folders of [`STANDARD_FOLDERS`] to a layer.
pub(super) fn declare_standard_folders<W: Write>(layer: &mut LayerWriter<W>) -> Result<(), layer::Error> {
    STANDARD_FOLDERS.iter().try_for_each(|folder| layer.folder_below(folder, standard_mode(folder), Owner::ROOT))
}

/// Writes the environment over the base's interpreter, an absolute path. There are no activation scripts: in an image the
/// environment is active through `PATH`.
pub fn write_environment<W: Write>(interpreter: &str, site: &Site, layer: &mut LayerWriter<W>) -> Result<(), Error> {
    let refuse = || Error::Interpreter(interpreter.to_owned());
    let (home, name) = interpreter.rsplit_once('/').ok_or_else(refuse)?;
    if name.is_empty() || !interpreter.starts_with('/') || interpreter.chars().any(char::is_control) {
        return Err(refuse());
    }
    let root = site.root();
    let home = if home.is_empty() { "/" } else { home };
    let settings = format!("home = {home}\ninclude-system-site-packages = false\nversion = {}\n", site.python);
    for folder in ["bin", "include"] {
        layer.directory(&format!("{root}/{folder}"), 0o755, Owner::ROOT)?;
    }
    let [first, others @ ..] = site.interpreter_names();
    layer.symlink(&format!("{root}/{first}"), interpreter, Owner::ROOT)?;
    for other in others {
        layer.symlink(&format!("{root}/{other}"), "python", Owner::ROOT)?;
    }
    layer.directory(&format!("{root}/{}", site.library()), 0o755, Owner::ROOT)?;
    layer.symlink(&format!("{root}/lib64"), "lib", Owner::ROOT)?;
    layer.file_bytes(&format!("{root}/pyvenv.cfg"), 0o644, Owner::ROOT, settings.as_bytes())?;
    Ok(())
}

/// Adds the user to the base's account files, and its home and working directory. A user that the base has already keeps
/// account and home as they are.
pub fn write_user<W: Write>(user: &User, accounts: &Accounts, layer: &mut LayerWriter<W>) -> Result<(), Error> {
    let User { name, workdir } = user;
    let plain =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "_-.".contains(character);
    if name.is_empty() || name.len() > 32 || name.starts_with(['-', '.']) || !name.chars().all(plain) {
        return Err(Error::UserName(name.clone()));
    }
    declare_standard_folders(layer)?;
    let Account { owner, home } = user.account(accounts);
    let passwd = accounts.passwd.clone().unwrap_or_else(|| b"root:x:0:0:root:/root:/bin/sh\n".to_vec());
    let group = accounts.group.clone().unwrap_or_else(|| b"root:x:0:\n".to_vec());
    let is_new = !has_account(&passwd, name);
    if is_new {
        let Owner { user: user_id, group: group_id } = owner;
        let shell = if accounts.bash { "/bin/bash" } else { "/bin/sh" };
        let line = format!("{name}:x:{user_id}:{group_id}::{home}:{shell}\n");
        layer.file_bytes("etc/passwd", 0o644, Owner::ROOT, &with_line(&passwd, &line))?;
        if !has_account(&group, name) {
            layer.file_bytes(
                "etc/group",
                0o644,
                Owner::ROOT,
                &with_line(&group, &format!("{name}:x:{group_id}:\n")),
            )?;
        }
        if let Some(shadow) = accounts.shadow.as_ref().filter(|shadow| !has_account(shadow, name)) {
            // No password, and no day of its last change: that would be today.
            let owner = Owner { user: 0, group: number_of_group(&group, "shadow").unwrap_or(0) };
            layer.file_bytes("etc/shadow", 0o640, owner, &with_line(shadow, &format!("{name}:!::0:99999:7:::\n")))?;
        }
    }
    let home = if is_new { folders_for(&home) } else { Vec::new() };
    for folder in home.into_iter().chain(folders_for(workdir)) {
        layer.directory(folder.trim_start_matches('/'), 0o755, owner)?;
    }
    Ok(())
}

/// Whether a colon-separated account file has a line for this name.
fn has_account(file: &[u8], name: &str) -> bool {
    file.split(|&byte| byte == b'\n').any(|line| line.split(|&byte| byte == b':').next() == Some(name.as_bytes()))
}

fn number_of_group(file: &[u8], name: &str) -> Option<u32> {
    let text = String::from_utf8_lossy(file);
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

fn with_line(file: &[u8], line: &str) -> Vec<u8> {
    let mut bytes = file.to_vec();
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::testing::{Tree, layer_tree};
    use crate::oci::Compression;
    use crate::version::PythonVersion;

    fn site() -> Site {
        Site { prefix: "/opt/venv".to_owned(), python: PythonVersion { major: 3, minor: 11 } }
    }

    fn user_tree(name: &str, workdir: &str, accounts: &Accounts) -> Tree {
        let user = User { name: name.to_owned(), workdir: workdir.to_owned() };
        layer_tree(|layer| write_user(&user, accounts, layer))
    }

    #[test]
    fn an_environment_is_links_a_folder_and_a_setting() {
        let tree = layer_tree(|layer| write_environment("/usr/bin/python3.11", &site(), layer));
        assert_eq!(
            tree.listing(),
            "d 0755 0:0 opt/\n\
             d 0755 0:0 opt/venv/\n\
             d 0755 0:0 opt/venv/bin/\n\
             d 0755 0:0 opt/venv/include/\n\
             l 0777 0:0 opt/venv/bin/python -> /usr/bin/python3.11\n\
             l 0777 0:0 opt/venv/bin/python3 -> python\n\
             l 0777 0:0 opt/venv/bin/python3.11 -> python\n\
             d 0755 0:0 opt/venv/lib/\n\
             d 0755 0:0 opt/venv/lib/python3.11/\n\
             d 0755 0:0 opt/venv/lib/python3.11/site-packages/\n\
             l 0777 0:0 opt/venv/lib64 -> lib\n\
             f 0644 0:0 opt/venv/pyvenv.cfg\n"
        );
        let settings = "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n";
        assert_eq!(tree.text("opt/venv/pyvenv.cfg"), settings);
    }

    #[test]
    fn a_user_is_added_to_what_the_base_has() {
        let accounts = Accounts {
            passwd: Some(b"root:x:0:0:root:/root:/bin/bash".to_vec()),
            group: Some(b"root:x:0:\nshadow:x:42:\n".to_vec()),
            shadow: Some(b"root:*:19000:0:99999:7:::\n".to_vec()),
            bash: true,
        };
        let tree = user_tree("app", "/workspace", &accounts);
        assert_eq!(
            tree.listing(),
            "d 0755 0:0 etc/\n\
             f 0644 0:0 etc/passwd\n\
             f 0644 0:0 etc/group\n\
             f 0640 0:42 etc/shadow\n\
             d 0755 0:0 home/\n\
             d 0755 1000:1000 home/app/\n\
             d 0755 1000:1000 workspace/\n"
        );
        let passwd = "root:x:0:0:root:/root:/bin/bash\napp:x:1000:1000::/home/app:/bin/bash\n";
        assert_eq!(tree.text("etc/passwd"), passwd);
        assert_eq!(tree.text("etc/shadow"), "root:*:19000:0:99999:7:::\napp:!::0:99999:7:::\n");
    }

    #[test]
    fn a_user_gets_a_number_that_nobody_has() {
        let accounts = |passwd: &str, group: &str| Accounts {
            passwd: Some(passwd.as_bytes().to_vec()),
            group: Some(group.as_bytes().to_vec()),
            ..Accounts::default()
        };
        let ubuntu = accounts("ubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n", "ubuntu:x:1000:\nstaff:x:1001:\n");
        let tree = user_tree("app", "/workspace", &ubuntu);
        assert!(tree.listing().ends_with("d 0755 1002:1002 home/app/\nd 0755 1002:1002 workspace/\n"));
        assert!(tree.text("etc/passwd").ends_with("\napp:x:1002:1002::/home/app:/bin/sh\n"));
        assert!(tree.text("etc/group").ends_with("\napp:x:1002:\n"));

        let with_group = accounts("root:x:0:0::/root:/bin/sh\n", "app:x:70:\n");
        let tree = user_tree("app", "/workspace", &with_group);
        assert!(tree.text("etc/passwd").ends_with("\napp:x:1000:70::/home/app:/bin/sh\n"));
        assert!(!tree.files().contains_key("etc/group"));
    }

    #[test]
    fn names_and_interpreters_that_would_break_the_files_are_refused() {
        for name in ["", "a:b", "a\nb", "-a", "A", "a/b"] {
            let user = User { name: name.to_owned(), workdir: "/w".to_owned() };
            let result = write_user(
                &user,
                &Accounts::default(),
                &mut LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer"),
            );
            assert!(matches!(result, Err(Error::UserName(_))), "{name:?}");
        }
        for interpreter in ["", "python", "usr/bin/python", "/usr/bin/", "/usr/bin/py\nthon"] {
            let result = write_environment(
                interpreter,
                &site(),
                &mut LayerWriter::new(Vec::new(), 0, Compression::Gzip).expect("a packer"),
            );
            assert!(matches!(result, Err(Error::Interpreter(_))), "{interpreter:?}");
        }
    }

    #[test]
    fn root_and_known_users_keep_their_accounts() {
        assert_eq!(
            user_tree("root", "/srv/work", &Accounts::default()).listing(),
            "d 0755 0:0 srv/\nd 0755 0:0 srv/work/\n"
        );
        let accounts = Accounts { passwd: Some(b"app:x:1001:7::/srv/app:/bin/sh\n".to_vec()), ..Accounts::default() };
        assert_eq!(user_tree("app", "/srv/work", &accounts).listing(), "d 0755 0:0 srv/\nd 0755 1001:7 srv/work/\n");
    }
}
