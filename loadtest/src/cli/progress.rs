//! How a run is seen while it lasts: a bar with figures on a terminal, a line a second elsewhere, or nothing. Standard error only.

use std::io::Write;

use console::Term;

use super::summary::time;
use crate::record::Second;
use crate::shape::Settings;

/// Characters of the bar.
const BAR: usize = 30;

/// The view of a run. When it is dropped, the terminal is as it was before.
#[derive(Debug)]
pub(super) struct Progress {
    view: View,
    seconds: u64,
    settled: u64,
    rate: Option<f64>,
    errors: u64,
}

#[derive(Debug)]
enum View {
    None,
    Plain,
    Live(Bar),
}

/// A bar that reaches its end with the duration, or with the number of requests where that is sooner, and lines below it.
#[derive(Debug)]
struct Bar {
    terminal: Term,
    seconds: u64,
    requests: u64,
    /// Lines that stand on the terminal. The cursor is at the beginning of the one below them, so that what the user types, Ctrl-C too, moves none of them.
    lines: usize,
}

impl Progress {
    /// Nothing is shown.
    pub(super) fn none() -> Progress {
        Progress::of(View::None)
    }

    /// A line a second.
    pub(super) fn plain() -> Progress {
        Progress::of(View::Plain)
    }

    /// A bar with figures.
    pub(super) fn live(settings: &Settings) -> Progress {
        let seconds = settings.duration.as_secs().max(1);
        let mut bar = Bar { terminal: Term::buffered_stderr(), seconds, requests: settings.requests, lines: 0 };
        bar.draw(0, 0, ["starting".to_owned(), String::new()]);
        Progress::of(View::Live(bar))
    }

    fn of(view: View) -> Progress {
        Progress { view, seconds: 0, settled: 0, rate: None, errors: 0 }
    }

    /// Shows the next second.
    pub(super) fn tell(&mut self, second: &Second) {
        self.seconds += 1;
        self.settled += second.answered + second.failed;
        self.errors += second.failed;
        let lines = self.lines(second);
        match &mut self.view {
            View::None => {}
            View::Plain => {
                // Whoever does not read it does not miss it.
                let _ = writeln!(std::io::stderr(), "{:>4} s  {}", self.seconds, lines.join("  "));
            }
            View::Live(bar) => bar.draw(self.seconds, self.settled, lines),
        }
    }

    /// Shows the next second of a step of a search.
    pub(super) fn tell_step(&mut self, rate: f64, second: &Second) {
        if self.rate.replace(rate) != Some(rate) {
            (self.seconds, self.settled, self.errors) = (0, 0, 0);
        }
        self.tell(second);
    }

    /// What is going on, and how long it takes. Each is short, so that it fits a narrow terminal.
    fn lines(&self, second: &Second) -> [String; 2] {
        let [p50, _, p99, p999, max] = second.latency.map(|at| time(at as f64));
        let asked = self.rate.map_or(String::new(), |rate| format!("asked {rate:.0}/s  "));
        let server = second.server_cpu_percent.map_or(String::new(), |percent| format!("  server {percent:.0} %"));
        let load = format!("{asked}answered {}/s  errors {}{server}", second.answered, self.errors);
        [load, format!("p50 {p50}  p99 {p99}  p99.9 {p999}  max {max}")]
    }
}

impl Bar {
    /// Draws over what stands there. A line is cut where the terminal ends, since one that is broken would take two.
    fn draw(&mut self, seconds: u64, settled: u64, [load, latency]: [String; 2]) {
        let part = (seconds as f64 / self.seconds as f64).max(settled as f64 / self.requests as f64);
        let full = (BAR as f64 * part.min(1.0)) as usize;
        let bar = format!("{}{} {seconds}/{} s", "█".repeat(full), "░".repeat(BAR - full), self.seconds);
        self.clear();
        let columns = usize::from(self.terminal.size().1).saturating_sub(1);
        for line in [bar, load, latency] {
            let cut: String = line.chars().take(columns).collect();
            // A terminal that is gone shows nothing.
            let _ = self.terminal.write_line(&cut);
            self.lines += 1;
        }
        let _ = self.terminal.flush();
    }

    fn clear(&mut self) {
        let _ = self.terminal.clear_line();
        let _ = self.terminal.clear_last_lines(std::mem::take(&mut self.lines));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let View::Live(bar) = &mut self.view {
            bar.clear();
            let _ = bar.terminal.flush();
        }
    }
}
