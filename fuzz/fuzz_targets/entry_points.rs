//! Any text is an `entry_points.txt` or refused; a script's name stays in its folder and its text has the lines that ours
//! have, so that nothing of the wheel's is run but the object it names.

#![no_main]

#[path = "../../src/assemble/entry_points.rs"]
mod entry_points;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(commands) = entry_points::parse(text) else { return };
    for command in commands {
        assert!(!command.name.is_empty() && !command.name.contains('/') && command.name != "..");
        let script = command.script("/opt/venv/bin/python");
        let plain =
            "#!/opt/venv/bin/python\nimport sys\nfrom a import b\nif __name__ == \"__main__\":\n    sys.exit(b())\n";
        assert_eq!(script.lines().count(), plain.lines().count());
        let import = script.lines().nth(2).and_then(|line| line.strip_prefix("from "));
        assert!(import.is_some_and(|rest| rest.split(' ').count() == 3), "{script}");
    }
});
