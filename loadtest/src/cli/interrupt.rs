//! SIGINT and SIGTERM during a run: the first ends it early, so that what was measured until then is told; the second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// What shells say of a program that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// From now on signals are caught. Returns what the first of them sets.
///
/// # Errors
///
/// A system that does not give the threads and descriptors for it.
pub(super) fn catch() -> Result<Arc<AtomicBool>> {
    let runtime = Builder::new_current_thread().enable_io().build().context("catching signals")?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).context("SIGINT")?, signal(SignalKind::terminate()).context("SIGTERM")?)
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    let wait = async move {
        for _ in 0..2 {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED);
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait)).context("catching signals")?;
    Ok(interrupted)
}
