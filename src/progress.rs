//! What the program is doing, on stderr: bars on a terminal, plain lines elsewhere, nothing with `--quiet`.
//!
//! A step that takes over a second should have a [`Task`]. Tasks may run side by side on several threads.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Steps.
    Normal,
    /// Steps and what each decided.
    Verbose,
}

/// The display; clones share it.
#[derive(Debug, Clone)]
pub struct Progress {
    bars: Option<MultiProgress>,
    verbosity: Verbosity,
}

/// One step under way. Dropping it without [`Task::done`] removes its bar and says nothing.
#[derive(Debug)]
pub struct Task {
    bar: Option<ProgressBar>,
    bars: Option<MultiProgress>,
    label: String,
    started: Instant,
    done_bytes: Arc<AtomicU64>,
    speaks: bool,
}

impl Progress {
    /// The display for this process's stderr.
    pub fn new(verbosity: Verbosity) -> Self {
        let terminal = std::io::stderr().is_terminal() && verbosity > Verbosity::Quiet;
        Self { bars: terminal.then(MultiProgress::new), verbosity }
    }

    /// A display that shows nothing, for tests.
    pub fn hidden() -> Self {
        Self { bars: None, verbosity: Verbosity::Quiet }
    }

    /// Starts a step. `bytes` is the amount of work if it is known and counted in bytes.
    pub fn task(&self, label: impl Into<String>, bytes: Option<u64>) -> Task {
        let label = label.into();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = match bytes {
                Some(total) => ProgressBar::new(total)
                    .with_style(style("{spinner} {msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes}")),
                None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
            };
            let bar = bars.add(bar);
            bar.set_message(label.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let done_bytes = Arc::new(AtomicU64::new(0));
        let speaks = self.verbosity > Verbosity::Quiet;
        Task { bar, bars: self.bars.clone(), label, started: Instant::now(), done_bytes, speaks }
    }

    /// One line for the person, above the bars.
    pub fn say(&self, line: impl AsRef<str>) {
        if self.verbosity > Verbosity::Quiet {
            print_line(self.bars.as_ref(), line.as_ref());
        }
    }

    /// A line only `--verbose` shows.
    pub fn detail(&self, line: impl AsRef<str>) {
        if self.verbosity == Verbosity::Verbose {
            print_line(self.bars.as_ref(), line.as_ref());
        }
    }
}

impl Task {
    /// Counts work done.
    pub fn advance(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// Adds to the amount of work.
    pub fn lengthen(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc_length(bytes);
        }
    }

    /// Changes the label while the step runs.
    pub fn label(&mut self, label: impl Into<String>) {
        self.label = label.into();
        if let Some(bar) = &self.bar {
            bar.set_message(self.label.clone());
        }
    }

    /// Ends the step with one line that stays: `summary`, then how long it took if that was worth a mention.
    pub fn done(self, summary: impl AsRef<str>) {
        self.end(summary);
    }

    /// [`Task::done`] for a step that others still hold.
    pub fn end(&self, summary: impl AsRef<str>) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.speaks {
            let seconds = self.started.elapsed().as_secs_f64();
            let time = if seconds >= 0.1 { format!(" ({seconds:.1} s)") } else { String::new() };
            print_line(self.bars.as_ref(), &format!("{}{time}", summary.as_ref()));
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn print_line(bars: Option<&MultiProgress>, line: &str) {
    match bars {
        Some(bars) => bars.suspend(|| anstream::eprintln!("{line}")),
        None => anstream::eprintln!("{line}"),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// `1 wheel`, `54 wheels`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Bytes for people: `84.2 MB`, powers of ten as registries and disks count.
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 || unit == "GB" {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    unreachable!("the loop returns at its last unit")
}
