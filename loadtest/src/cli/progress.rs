//! How a run is seen while it lasts: a bar with figures on a terminal, a line a second elsewhere, or nothing. Standard error only.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::summary::time;
use crate::record::Second;

/// The view of a run.
#[derive(Debug)]
pub(super) struct Progress {
    view: View,
    seconds: u64,
    rate: Option<f64>,
    errors: u64,
}

#[derive(Debug)]
enum View {
    None,
    Plain,
    Live(ProgressBar),
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

    /// A bar that reaches its end with the duration.
    pub(super) fn live(duration: Duration) -> Progress {
        let bar = ProgressBar::new(duration.as_secs().max(1));
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s\n{msg}");
        Progress::of(View::Live(style.map_or(bar.clone(), |style| bar.with_style(style))))
    }

    fn of(view: View) -> Progress {
        Progress { view, seconds: 0, rate: None, errors: 0 }
    }

    /// Shows the next second.
    pub(super) fn tell(&mut self, second: &Second) {
        self.seconds += 1;
        self.errors += second.failed;
        match &self.view {
            View::None => {}
            View::Plain => {
                // Whoever does not read it does not miss it.
                let _ = writeln!(std::io::stderr(), "{:>4} s  {}", self.seconds, self.line(second));
            }
            View::Live(bar) => {
                bar.set_position(self.seconds);
                bar.set_message(self.line(second));
            }
        }
    }

    /// Shows the next second of a step of a search.
    pub(super) fn tell_step(&mut self, rate: f64, second: &Second) {
        if self.rate.replace(rate) != Some(rate) {
            (self.seconds, self.errors) = (0, 0);
        }
        self.tell(second);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let View::Live(bar) = &self.view {
            bar.finish_and_clear();
        }
    }

    fn line(&self, second: &Second) -> String {
        let [p50, _, p99, p999, max] = second.latency.map(|at| time(at as f64));
        let asked = self.rate.map_or(String::new(), |rate| format!("asked {rate:.0}/s  "));
        let server = second.server_cpu_percent.map_or(String::new(), |percent| format!("  server {percent:.0}%"));
        format!("{asked}{}/s  p50 {p50}  p99 {p99}  p99.9 {p999}  max {max}  errors {}{server}", second.answered, self.errors)
    }
}
