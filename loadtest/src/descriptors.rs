//! Open files that the system allows this process: a load with more connections than that would fail by its own fault, and look as if the server had refused it.

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::shape::Settings;

/// What is open beside connections: standard streams, files, epoll instances and timers of the threads.
const BESIDE: u64 = 64;
/// Of each thread.
const BY_THREAD: u64 = 8;

/// Raises the soft limit as far as the load needs it and the hard one allows.
///
/// # Errors
///
/// A load that needs more than the hard limit.
pub(crate) fn make_room(settings: &Settings) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let Some(raised) = raised(limit, settings)? else { return Ok(()) };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// The limit that is needed in the place of this one; `None` where it will do.
fn raised(limit: Rlimit, settings: &Settings) -> Result<Option<Rlimit>> {
    let beside = BESIDE + BY_THREAD * u64::from(settings.threads);
    let needed = u64::from(settings.connections) + u64::from(settings.slow_clients) + beside;
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    ensure!(
        is_enough(limit.maximum),
        "--connections, --slow-clients: found {} and {}, wanted at most {} together: the system allows {} open files (ulimit -Hn)",
        settings.connections,
        settings.slow_clients,
        limit.maximum.unwrap_or_default().saturating_sub(beside),
        limit.maximum.unwrap_or_default()
    );
    Ok((!is_enough(limit.current)).then_some(Rlimit { current: Some(needed), ..limit }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_a_load_beyond_it_refused() {
        let settings = Shape { connections: Some(900), slow_clients: Some(100), ..Shape::default() }.settle().unwrap();
        let limit = |current, maximum| Rlimit { current: Some(current), maximum };
        assert_eq!(raised(limit(1072, Some(4096)), &settings).unwrap(), None);
        assert_eq!(raised(limit(1071, Some(4096)), &settings).unwrap(), Some(limit(1072, Some(4096))));
        assert_eq!(raised(limit(256, None), &settings).unwrap(), Some(limit(1072, None)));
        let refused = raised(limit(256, Some(1071)), &settings).unwrap_err().to_string();
        assert_eq!(
            refused,
            "--connections, --slow-clients: found 900 and 100, wanted at most 999 together: the system allows 1071 open files (ulimit -Hn)"
        );
    }
}
