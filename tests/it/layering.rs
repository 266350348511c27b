//! Rules about the source tree that the compiler does not know: which module may import which, that the modules form no
//! cycle, and words that no file may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{repository, run};

/// A module, and what it may import besides itself. A row for a file comes before that of its folder and adds to it.
///
/// Three consequences a reader can rely on: `resolve` does no IO; after `lock` nobody asks the catalog or an index again;
/// `render` and `assemble` make the same choices, because both only read a plan.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // A layout is a folder of files, written as the store writes them. The store needs `oci::digest` alone, so this is a
    // cycle of folders but not of files.
    ("oci/layout", &["store"]),
    ("version", &[]),
    ("redact", &[]),
    ("progress", &[]),
    ("parallel", &[]),
    ("oci", &[]),
    ("hierarchy", &[]),
    ("diagnostic", &["redact"]),
    ("http", &["diagnostic", "redact"]),
    ("store", &["diagnostic", "oci"]),
    ("packaging", &["diagnostic", "oci", "redact", "version"]),
    ("settings", &["diagnostic", "http", "oci", "redact"]),
    (
        "index",
        &[
            "diagnostic",
            "http",
            "lock",
            "oci",
            "packaging",
            "parallel",
            "progress",
            "redact",
            "settings",
            "store",
            "version",
        ],
    ),
    (
        "debian",
        &["diagnostic", "hierarchy", "http", "lock", "oci", "parallel", "progress", "redact", "store", "version"],
    ),
    ("registry", &["diagnostic", "http", "oci", "progress", "redact", "store"]),
    ("spec", &["diagnostic", "hierarchy", "oci", "redact", "version"]),
    ("catalog", &["diagnostic", "oci", "version"]),
    // Holds upstream against the catalog. The catalog itself must not know indexes, and this does no IO either: whoever
    // calls it answers its questions, so it needs the vocabulary of packages and no client.
    ("update", &["catalog", "diagnostic", "oci", "packaging", "version"]),
    ("resolve", &["catalog", "diagnostic", "oci", "packaging", "redact", "spec", "version"]),
    ("lock", &["diagnostic", "oci", "resolve", "spec", "store", "version"]),
    ("plan", &["hierarchy", "lock", "oci", "spec", "version"]),
    ("render", &["diagnostic", "lock", "oci", "plan", "spec", "store", "version"]),
    (
        "assemble",
        &[
            "debian",
            "diagnostic",
            "hierarchy",
            "http",
            "lock",
            "oci",
            "plan",
            "progress",
            "registry",
            "store",
            "version",
        ],
    ),
    ("publish", &["diagnostic", "oci", "parallel", "progress", "registry", "store"]),
    // Brings back what was published, so it looks at both ends of the pipeline.
    (
        "share",
        &[
            "assemble",
            "diagnostic",
            "lock",
            "oci",
            "progress",
            "publish",
            "registry",
            "render",
            "spec",
            "store",
            "version",
        ],
    ),
    // Says what is in an image and puts that beside it; looks neither at the spec nor into layers.
    ("attest", &["diagnostic", "lock", "oci", "packaging", "publish", "registry", "version"]),
    ("export", &["diagnostic", "lock", "oci", "version"]),
    ("commands", &["*"]),
    ("cli", &["diagnostic", "version"]),
    ("main", &["cli", "commands", "diagnostic", "progress"]),
];

/// One mention of a top-level module in a file of another.
#[derive(Debug, PartialEq, Eq)]
struct Import {
    module: String,
    line: usize,
}

#[test]
fn modules_import_only_what_their_row_allows() {
    let mut offences = String::new();
    for (file, imports) in imports_of_the_tree() {
        let Some(allowed) = allowed_for(&file) else {
            offences += &format!("src/{file}: `{}` has no row in MAY_IMPORT\n", module_of(&file));
            continue;
        };
        for import in imports {
            if !allowed.contains(&"*") && !allowed.contains(&import.module.as_str()) {
                let importer = module_of(&file);
                offences += &format!("src/{file}:{}: `{importer}` may not import `{}`\n", import.line, import.module);
            }
        }
    }
    assert!(offences.is_empty(), "\n{offences}");
}

#[test]
fn modules_form_no_cycle() {
    let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
    for (file, imports) in imports_of_the_tree() {
        if file != "oci/layout.rs" {
            graph.entry(module_of(&file)).or_default().extend(imports.into_iter().map(|import| import.module));
        }
    }
    // Take away modules that import nothing of what is left until none can be taken: a cycle is what stays.
    loop {
        let names: BTreeSet<String> = graph.keys().cloned().collect();
        let before = names.len();
        graph.retain(|_, imports| imports.iter().any(|import| names.contains(import)));
        if graph.len() == before {
            break;
        }
    }
    assert!(graph.is_empty(), "these modules import each other in a circle, or something that does: {graph:#?}");
}

#[test]
fn only_the_catalog_names_the_hosts_that_packages_come_from() {
    // Where packages come from is a setting of the machine, and its default one entry of the catalog.
    let Ok(sources) = fs::read_to_string(repository().join("catalog/sources.yaml")) else { return };
    let hosts = hosts_of(&sources);
    assert!(!hosts.is_empty(), "catalog/sources.yaml names no host");
    let mut offences = String::new();
    for (path, text) in files_of_the_project() {
        if path == Path::new("catalog/sources.yaml") || path == Path::new("Cargo.lock") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for host in hosts.iter().filter(|host| line.contains(host.as_str())) {
                offences += &format!("{}:{}: names `{host}`\n", path.display(), number + 1);
            }
        }
    }
    assert!(offences.is_empty(), "\n{offences}");
}

#[test]
fn nothing_is_left_to_do() {
    let unfinished = [concat!("to", "do!("), concat!("db", "g!("), concat!("unimple", "mented!(")];
    let mut offences = String::new();
    for (path, text) in files_of_the_project() {
        for (number, line) in text.lines().enumerate() {
            for word in unfinished.iter().filter(|word| line.contains(**word)) {
                offences += &format!("{}:{}: {word}…)\n", path.display(), number + 1);
            }
        }
    }
    assert!(offences.is_empty(), "\n{offences}");
}

/// What the row of the file and the row of its module allow together; `None` if neither exists.
fn allowed_for(file: &str) -> Option<Vec<&'static str>> {
    let stem = file.trim_end_matches(".rs");
    let module = module_of(file);
    let mut rows = MAY_IMPORT.iter().filter(|(name, _)| *name == stem || *name == module).peekable();
    rows.peek()?;
    Some(rows.flat_map(|(_, allowed)| allowed.iter().copied()).collect())
}

/// The top-level module that a file, relative to `src`, belongs to.
fn module_of(file: &str) -> String {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs").to_owned()
}

/// The files of `src` but for the crate's root, with the other top-level modules that each mentions outside its tests.
fn imports_of_the_tree() -> Vec<(String, Vec<Import>)> {
    let source = repository().join("src");
    let mut files = Vec::new();
    collect_rust_files(&source, &mut files);
    files.sort();
    let relative = |path: &PathBuf| path.strip_prefix(&source).expect("below src").to_str().expect("UTF-8").to_owned();
    let known: BTreeSet<String> = files.iter().map(|path| module_of(&relative(path))).collect();
    let mut tree = Vec::new();
    for path in &files {
        let file = relative(path);
        // `tests` is a module in files of its own, declared under `#[cfg(test)]`.
        if file == "lib.rs" || file.ends_with("/tests.rs") || file.contains("/tests/") {
            continue;
        }
        let code = without_tests(&without_text(&fs::read_to_string(path).expect("a source file in UTF-8")));
        let importer = module_of(&file);
        let mut imports = imports_of(&code, if file == "main.rs" { "imgforge" } else { "crate" });
        imports.retain(|import| import.module != importer && known.contains(&import.module));
        tree.push((file, imports));
    }
    tree
}

fn collect_rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            collect_rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The first segments below `root::`, in paths as well as in `root::{…}`.
fn imports_of(code: &str, root: &str) -> Vec<Import> {
    let prefix = format!("{root}::");
    let mut imports = Vec::new();
    for (start, _) in code.match_indices(&prefix) {
        if code[..start].ends_with(|character: char| character.is_alphanumeric() || character == '_') {
            continue;
        }
        let mut add = |at: usize| {
            let module: String = code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !module.is_empty() {
                imports.push(Import { module, line: code[..at].matches('\n').count() + 1 });
            }
        };
        let after = start + prefix.len();
        if !code[after..].starts_with('{') {
            add(after);
            continue;
        }
        let (mut depth, mut expects_segment) = (0_usize, false);
        for (offset, character) in code[after..].char_indices() {
            match character {
                '{' => {
                    depth += 1;
                    expects_segment = depth == 1;
                }
                '}' if depth == 1 => break,
                '}' => depth -= 1,
                ',' => expects_segment = depth == 1,
                _ if character.is_whitespace() => {}
                _ if expects_segment => {
                    add(after + offset);
                    expects_segment = false;
                }
                _ => {}
            }
        }
    }
    imports
}

/// Rust source with comments and the insides of literals blanked out, line for line.
fn without_text(source: &str) -> String {
    let characters: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < characters.len() {
        let end = text_end(&characters, at).unwrap_or(at);
        if end == at {
            code.push(characters[at]);
            at += 1;
        } else {
            code.extend(characters[at..end].iter().map(|character| if *character == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that starts at `at` ends.
fn text_end(characters: &[char], at: usize) -> Option<usize> {
    let here = |offset: usize| characters.get(at + offset).copied();
    let starts_word = at == 0 || !(characters[at - 1].is_alphanumeric() || characters[at - 1] == '_');
    let find = |from: usize, wanted: &str| {
        let wanted: Vec<char> = wanted.chars().collect();
        (from..characters.len())
            .find(|start| characters[*start..].starts_with(&wanted))
            .map(|start| start + wanted.len())
    };
    let end = match (here(0)?, here(1)) {
        ('/', Some('/')) => (at..characters.len()).find(|index| characters[*index] == '\n'),
        ('/', Some('*')) => {
            let (mut depth, mut index) = (1, at + 2);
            while depth > 0 && index < characters.len() {
                match (characters[index], characters.get(index + 1)) {
                    ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
                    ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
                    _ => index += 1,
                }
            }
            Some(index)
        }
        ('r', Some('"' | '#')) if starts_word || characters[at - 1] == 'b' => {
            let hashes = characters[at + 1..].iter().take_while(|character| **character == '#').count();
            // `r#name` is an identifier.
            (here(1 + hashes)? == '"').then(|| find(at + 2 + hashes, &format!("\"{}", "#".repeat(hashes))))?
        }
        ('"', _) => {
            let mut index = at + 1;
            while index < characters.len() && characters[index] != '"' {
                index += if characters[index] == '\\' { 2 } else { 1 };
            }
            Some(index + 1)
        }
        // A lifetime has no closing quote after its first character.
        ('\'', Some('\\')) => find(at + 3, "'"),
        ('\'', Some(_)) if here(2) == Some('\'') => Some(at + 3),
        _ => return None,
    };
    Some(end.unwrap_or(characters.len()).min(characters.len()))
}

/// Code (see [`without_text`]) with the items under `#[cfg(test)]` blanked out, line for line.
fn without_tests(code: &str) -> String {
    let mut left = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        left.push_str(&rest[..start]);
        let mut depth = 0_usize;
        let end = rest[start..].char_indices().find_map(|(offset, character)| {
            match character {
                '{' => depth += 1,
                '}' if depth == 1 => return Some(start + offset + 1),
                '}' => depth = depth.saturating_sub(1),
                ';' if depth == 0 => return Some(start + offset + 1),
                _ => {}
            }
            None
        });
        let end = end.unwrap_or(rest.len());
        left.extend(rest[start..end].chars().filter(|character| *character == '\n'));
        rest = &rest[end..];
    }
    left + rest
}

/// The hosts of the URLs in a YAML text, without its comments and without the pages that it cites as `source`.
fn hosts_of(yaml: &str) -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    for line in
        yaml.lines().map(str::trim_start).filter(|line| !line.starts_with(['#']) && !line.starts_with("source:"))
    {
        for (start, scheme) in line.match_indices("://") {
            let host: String = line[start + scheme.len()..]
                .chars()
                .take_while(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-'))
                .collect();
            hosts.insert(host);
        }
    }
    hosts.remove("");
    hosts
}

/// Every text file that is or could be committed.
fn files_of_the_project() -> Vec<(PathBuf, String)> {
    let mut git = Command::new("git");
    git.current_dir(repository()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    // A checkout may belong to another user than the one that runs the tests, as in a container.
    git.args(["--deduplicate"]).env("GIT_CONFIG_COUNT", "1");
    git.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    let listed = run(&mut git);
    let paths = listed.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from);
    // What git lists but the folder lacks has been deleted, what is not UTF-8 is no text.
    paths.filter_map(|path| fs::read_to_string(repository().join(&path)).ok().map(|text| (path, text))).collect()
}

#[test]
fn imports_are_found_in_paths_and_groups() {
    let code =
        "use crate::{oci, store::{Store, http},\n    lock::Lock};\nfn f(_: crate::plan::Plan, _: subcrate::x::Y) {}\n";
    let found = imports_of(code, "crate");
    let expected = [("oci", 1), ("store", 1), ("lock", 2), ("plan", 3)];
    let expected: Vec<_> = expected.map(|(module, line)| Import { module: module.to_owned(), line }).into();
    assert_eq!(found, expected);
}

#[test]
fn comments_literals_and_tests_are_no_imports() {
    let source = "// crate::a\n/* crate::b /* */ crate::c */ let s = \"crate::d \\\" crate::e\";\n\
                  let r = r#\"\"crate::f\"#; let c = '\"'; fn g<'a>(_: &'a crate::kept::Kept) {}\n\
                  #[cfg(test)]\nmod tests {\n    use crate::g;\n    fn f() {}\n}\nuse crate::also_kept;\n";
    let found = imports_of(&without_tests(&without_text(source)), "crate");
    let expected = [("kept", 3), ("also_kept", 9)];
    let expected: Vec<_> = expected.map(|(module, line)| Import { module: module.to_owned(), line }).into();
    assert_eq!(found, expected);
}

#[test]
fn hosts_are_read_from_urls_but_not_from_citations() {
    let yaml = "# https://comment.example/\nsource: https://docs.example/page\nurl: \"https://index.example/simple\"\n\
                list: [http://mirror.example:80/debian]\n";
    assert_eq!(hosts_of(yaml).into_iter().collect::<Vec<_>>(), ["index.example", "mirror.example"]);
}
