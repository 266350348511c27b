//! The interpreter of this machine as the judge: it says what code is, and what is equal.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::assemble::testing::{Tree, layer_bytes};
use crate::oci::Digest;
use crate::version::PythonVersion;

/// What `python3 -c` prints.
fn python(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3").args(["-c", script]).args(arguments).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn release() -> Release {
    let text = python("import sys; print('.'.join(map(str, sys.version_info[:3])))", &[]);
    let numbers: Vec<u32> = text.split('.').map(|number| number.parse().expect("a number")).collect();
    Release { line: PythonVersion { major: numbers[0], minor: numbers[1] }, text }
}

fn compiler() -> Compiler {
    let release = release();
    Compiler::new(Interpreter::installed(&release).expect("python3"), release).expect("threads")
}

fn site() -> Site {
    Site { prefix: "/opt/venv".to_owned(), python: release().line }
}

/// A wheel of these modules in a folder.
fn wheel(folder: &std::path::Path, name: &str, members: &[(&str, &[u8])]) -> WheelInput {
    use std::io::Write as _;
    let filename = format!("{name}-1.0-py3-none-any.whl");
    let path = folder.join(&filename);
    let mut zip = ::zip::ZipWriter::new(fs::File::create(&path).expect("a file"));
    let options = ::zip::write::SimpleFileOptions::default();
    let mut add = |member: &str, content: &[u8]| {
        zip.start_file(member, options).expect("a member");
        zip.write_all(content).expect("a member");
    };
    let mut record = String::new();
    for (member, content) in members {
        add(member, content);
        record.push_str(&format!("{member},,\n"));
    }
    let info = format!("{name}-1.0.dist-info");
    add(&format!("{info}/METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n").as_bytes());
    add(&format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n");
    add(&format!("{info}/RECORD"), record.as_bytes());
    zip.finish().expect("an archive");
    WheelInput { digest: Digest::of(&fs::read(&path).expect("a wheel")), path, filename }
}

fn byte_code(wheels: &[WheelInput], compiler: &Compiler) -> Vec<u8> {
    layer_bytes(|layer| write_byte_code(wheels, &site(), compiler, layer))
}

#[test]
fn a_release_is_read_from_versions_of_packages() {
    let line = PythonVersion { major: 3, minor: 13 };
    let parse = |text: &str| Release::parse(text, line).map(|release| release.text);
    assert_eq!(parse("3.13.5-2+deb13u1").as_deref(), Some("3.13.5"));
    assert_eq!(parse("3.13.0").as_deref(), Some("3.13.0"));
    for other in ["3.13.0~rc1-1", "3.13", "3.130.1", "3.12.3-1", "3.13.x", ""] {
        assert_eq!(parse(other), None, "{other}");
    }
    assert_eq!(Release { line, text: "3.13.5".to_owned() }.tag(), "cpython-313");
}

#[test]
fn modules_have_the_places_that_python_looks_at() {
    let paths = ["a/b.py", "a/.py", "a/b.c.py", "a/__init__.py"];
    let theirs =
        python("import importlib.util, sys\nfor p in sys.argv[1:]: print(importlib.util.cache_from_source(p))", &paths);
    let ours: Vec<String> = paths.iter().filter_map(|path| cached(path, &release().tag())).collect();
    assert_eq!(ours, theirs.lines().collect::<Vec<_>>());
}

#[test]
fn modules_are_compiled_and_recorded_and_what_does_not_compile_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = wheel(
        folder.path(),
        "demo",
        &[
            (
                "demo/__init__.py",
                b"'''text'''\nX = {1, 'a', None}\ndef f(a, *, b=(1, 'a')): return a in {'x', 'y', None}\n",
            ),
            ("demo/template.py", b"class {{ name }}:\n"),
            ("demo/nul.py", b"x = 1\0\n"),
            ("demo/latin.py", b"# -*- coding: latin-1 -*-\nx = '\xe4'\n"),
            ("demo/data.txt", b"x = 1\n"),
            ("demo-1.0.data/scripts/run.py", b"#!python\nprint()\n"),
            ("shared/__init__.py", b"owner = 'demo'\n"),
        ],
    );
    let other = wheel(folder.path(), "other", &[("shared/__init__.py", b"owner = 'other'\n")]);
    let compiler = compiler();
    let bytes = byte_code(&[demo.clone(), other.clone()], &compiler);
    let tree = Tree::read(&bytes);
    let (library, tag) = (format!("opt/venv/{}", site().library()), release().tag());
    let files = tree.files();
    let expected = [
        format!("{library}/demo-1.0.dist-info/RECORD"),
        format!("{library}/demo/__pycache__/__init__.{tag}.pyc"),
        format!("{library}/demo/__pycache__/latin.{tag}.pyc"),
        format!("{library}/other-1.0.dist-info/RECORD"),
        format!("{library}/shared/__pycache__/__init__.{tag}.pyc"),
        format!("opt/venv/bin/__pycache__/run.{tag}.pyc"),
    ];
    let mut found: Vec<&str> = files.keys().copied().collect();
    found.sort_unstable();
    let mut sorted = expected.to_vec();
    sorted.sort();
    assert_eq!(found, sorted);
    assert_eq!(compiler.skipped(), BTreeMap::from([(demo.filename.clone(), 2)]));
    let record = tree.text(&expected[0]);
    let rows: Vec<&str> = record.lines().filter(|row| row.contains("__pycache__")).collect();
    let row = |path: &str| format!("{path}.{tag}.pyc,,");
    assert_eq!(
        rows,
        [
            row("../../../bin/__pycache__/run"),
            row("demo/__pycache__/__init__"),
            row("demo/__pycache__/latin"),
            row("shared/__pycache__/__init__"),
        ]
    );
    assert!(record.contains("demo/data.txt,,\n") && record.contains("demo/template.py,,\n"), "{record}");

    // The module of the wheel whose source is in the image.
    let shared = folder.path().join("shared.pyc");
    fs::write(&shared, files[expected[4].as_str()]).expect("a file");
    let load = "import importlib._bootstrap_external as b, sys\n\
                code = b.SourcelessFileLoader('shared', sys.argv[1]).get_code('shared')\n\
                print(code.co_filename, code.co_consts[0])";
    let place = format!("/{library}/shared/__init__.py other");
    assert_eq!(python(load, &[shared.to_str().expect("UTF-8")]), place);

    // Whatever was compiled before, and by whom.
    let alone = std::slice::from_ref(&other);
    assert_eq!(byte_code(alone, &compiler), byte_code(alone, &self::compiler()));
    assert_eq!(byte_code(&[other, demo], &compiler), bytes);
}

/// Pairs of a source's address and what `compileall` makes of it and what we do, for all modules of a folder.
fn compare_with_compileall(sources: &std::path::Path, seed: &str) -> usize {
    let place = "/opt/venv/lib";
    let script = format!(
        "import compileall, py_compile, sys\n\
         compileall.compile_dir(sys.argv[1], quiet=2, force=True, stripdir=sys.argv[1], prependdir='{place}',\n\
         \x20   invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"
    );
    let root = sources.to_str().expect("UTF-8");
    let ran =
        Command::new("python3").args(["-c", &script, root]).env("PYTHONHASHSEED", seed).status().expect("python3");
    assert!(ran.success());
    let compiler = compiler();
    let (tag, line) = (release().tag(), release().line);
    let mut modules = Vec::new();
    let mut theirs = Vec::new();
    for entry in walk(sources) {
        let below = entry.strip_prefix(sources).expect("below").to_str().expect("UTF-8").to_owned();
        let cached = cached(&format!("{root}/{below}"), &tag).expect("a module");
        modules.push(Module { path: format!("{place}/{below}"), source: fs::read(&entry).expect("a module") });
        theirs.push(fs::read(cached).ok());
    }
    let count = modules.len();
    let ours = compiler.compile(modules.clone()).expect("compiled");
    for ((module, ours), theirs) in modules.iter().zip(ours).zip(theirs) {
        let normal = |file: &Vec<u8>| {
            let (head, code) = file.split_at(16);
            [head, &marshal::normalize(code, line).expect("code")].concat()
        };
        assert_eq!(ours.is_some(), theirs.is_some(), "{}", module.path);
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            assert!(ours == normal(&theirs), "{} is not what compileall makes of it", module.path);
            assert!(ours == normal(&ours), "{} is not in normal form", module.path);
            assert!(ours.len() <= theirs.len(), "{} became larger", module.path);
        }
    }
    count
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else if path.extension().is_some_and(|extension| extension == "py") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The standard library's own modules, compiled in another order, by another process, with other hashes.
#[test]
fn byte_code_is_what_compileall_makes_in_its_normal_form() {
    let library = python("import os; print(os.path.dirname(os.__file__))", &[]);
    for seed in ["1", "77"] {
        let folder = tempfile::tempdir().expect("a folder");
        for part in ["asyncio", "email", "json", "encodings"] {
            let to = folder.path().join(part);
            fs::create_dir(&to).expect("a folder");
            for path in walk(&std::path::Path::new(&library).join(part)) {
                fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
            }
        }
        fs::write(folder.path().join("bad.py"), "x = (").expect("a file");
        let sets = "a = lambda x: x in {'one', 'two', None, 3.0, b'b', ('t', 1)}\n\
                    b = lambda x: x in {'one', 'two', None, 3.0, b'b', ('t', 1)}\n\
                    c = ('ä', '-', 'a', '', 1 << 200, 2j, ..., -0.0, 0.0, True, 1)\nä = 'ä'\n";
        fs::write(folder.path().join("sets.py"), sets).expect("a file");
        assert!(compare_with_compileall(folder.path(), seed) > 150);
    }
}

#[test]
fn loaded_code_is_equal_to_what_was_compiled() {
    let source = b"def f(x):\n    '''doc'''\n    return x in {'a', 'b', None} or [y for y in (1, 2, (3, 'a'))]\nclass C: z = f\n";
    let module = Module { path: "/m.py".to_owned(), source: source.to_vec() };
    let compiled = compiler().compile(vec![module]).expect("compiled").remove(0).expect("code");
    let folder = tempfile::tempdir().expect("a folder");
    let (source_file, code_file) = (folder.path().join("m.py"), folder.path().join("m.pyc"));
    fs::write(&source_file, source).expect("a file");
    fs::write(&code_file, &compiled).expect("a file");
    let script = "import marshal, sys, importlib.util\n\
                  source, file = open(sys.argv[1], 'rb').read(), open(sys.argv[2], 'rb').read()\n\
                  assert marshal.loads(file[16:]) == compile(source, '/m.py', 'exec', dont_inherit=True)\n\
                  assert file[:8] == importlib.util.MAGIC_NUMBER + bytes([1, 0, 0, 0])\n\
                  assert file[8:16] == importlib.util.source_hash(source)\n";
    python(script, &[source_file.to_str().expect("UTF-8"), code_file.to_str().expect("UTF-8")]);
}

#[test]
fn another_release_is_refused_by_name() {
    let own = release();
    let other = Release { text: format!("{}.99", own.line), ..own.clone() };
    let others = Interpreter::installed(&other).expect_err("there is no such release");
    assert!(others.contains(&format!("cpython {} {}", own.text, own.tag())), "{others:?}");
}

#[test]
fn what_is_no_code_is_refused() {
    let line = PythonVersion { major: 3, minor: 11 };
    let normalize = |bytes: &[u8]| marshal::normalize(bytes, line);
    assert_eq!(normalize(b""), Err(marshal::Error::Short));
    assert_eq!(normalize(b"NN"), Err(marshal::Error::Long(1)));
    assert_eq!(normalize(b"{0"), Err(marshal::Error::Type { at: 0, kind: b'{' }));
    assert_eq!(normalize(b"r\0\0\0\0"), Err(marshal::Error::Reference(0)));
    // A tuple that holds itself.
    assert_eq!(normalize(b"\xa9\x01r\0\0\0\0"), Err(marshal::Error::Reference(2)));
    let deep = move || marshal::normalize(&b")\x01".repeat(3000), line);
    let deep = std::thread::Builder::new().stack_size(compiler::STACK).spawn(deep).expect("a thread");
    assert_eq!(deep.join().expect("no overflow"), Err(marshal::Error::Depth));
    assert_eq!(normalize(b"(\xff\xff\xff\x7f"), Err(marshal::Error::Short));
    // Marks of what is referred to once go, and those of what occurs twice come.
    assert_eq!(normalize(b"\xa9\x02\xfa\x01-\xda\x01a"), Ok(b")\x02z\x01-Z\x01a".to_vec()));
    assert_eq!(normalize(b")\x02\xfa\x02--z\x02--"), Ok(b")\x02\xfa\x02--r\0\0\0\0".to_vec()));
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_result(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in prop::sample::select(b"c()>isuzZ".to_vec())) {
        for minor in [9, 13] {
            let line = PythonVersion { major: 3, minor };
            let _ = marshal::normalize(&bytes, line);
            let _ = marshal::normalize(&[&[kind], bytes.as_slice()].concat(), line);
        }
    }
}
