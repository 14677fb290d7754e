//! Standard output: where a command's result goes. Everything else goes to standard error.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How often a bar moves.
const LOOK: Duration = Duration::from_millis(100);

/// Lines on standard output. A reader that has seen enough (`| head`) ends the command quietly.
pub(super) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Standard output, locked and buffered.
    pub(super) fn new() -> Output {
        Output(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.0, "{text}").or_else(quiet)
    }

    /// Writes a value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(text)
    }

    /// Hands over everything that was written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.0.flush().or_else(quiet)
    }
}

/// A bar on a terminal; nothing elsewhere.
pub(super) fn progress(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:20} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}");
    let bar = ProgressBar::new(length).with_message(what);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Does something while the bar follows a count; then takes the bar away.
pub(super) fn watch<T>(bar: &ProgressBar, count: &(dyn Fn() -> u64 + Sync), work: impl FnOnce() -> T) -> T {
    let result = std::thread::scope(|scope| {
        let (done, finished) = channel::<()>();
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = finished.recv_timeout(LOOK) {
                bar.set_position(count());
            }
        });
        let result = work();
        drop(done);
        result
    });
    bar.finish_and_clear();
    result
}

fn quiet(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    Err(error)
}
