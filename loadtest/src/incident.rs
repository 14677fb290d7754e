//! A mass revocation under load: runs the command that revokes, then asks about every certificate until each answer says revoked.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::load::{Clock, Said};
use crate::measure::Beside;
use crate::record::Mark;
use crate::scenario::Incident;
use crate::targets::{Kind, RequestId, Targets};

/// Certificates that are asked about before it is looked whether the load is over.
const ROUND: usize = 1024;
/// How often it is looked whether the time has come, and how long a round waits for the next where nothing has changed.
const LOOK: Duration = Duration::from_millis(5);

/// What is done when, and where it shows.
#[derive(Clone, Copy, Debug)]
pub struct Drill<'a> {
    /// When.
    pub incident: Incident,
    /// What revokes, as a shell takes it.
    pub command: &'a str,
    /// Where the answers come from.
    pub endpoint: &'a Endpoint,
    /// The certificates.
    pub targets: &'a Targets,
}

impl Drill<'_> {
    /// Does it beside a load. Ends the load when every answer says revoked; and when it fails: by a command that does, or by answers that do not say so
    /// before the load is over.
    pub fn run(&self, clock: &Clock, halt: &AtomicBool) -> Beside {
        let mut beside = Beside::default();
        match self.revoke_and_watch(clock, halt, &mut beside.marks) {
            Ok(()) => sleep_until(clock, clock.seconds() + self.incident.calm.0.as_secs_f64(), halt),
            Err(e) => beside.failure = Some(format!("The incident did not come to its end: {e:#}.")),
        }
        halt.store(true, Ordering::Relaxed);
        beside
    }

    fn revoke_and_watch(&self, clock: &Clock, halt: &AtomicBool, marks: &mut Vec<Mark>) -> Result<()> {
        let certificates: Vec<RequestId> = self.targets.issued().map(|index| RequestId { kind: Kind::OcspPost, index }).collect();
        ensure!(!certificates.is_empty(), "--serials: wanted the certificates that are revoked");
        let count = certificates.len();
        sleep_until(clock, self.incident.revoke_after.0.as_secs_f64(), halt);
        // It cannot be taken back: not for a load that could not begin, nor for a user who has ended it.
        ensure!(!halt.load(Ordering::Relaxed), "the load was over before the revoke command was to start, and nothing was revoked");
        let started = clock.seconds();
        marks.push(Mark { at: started, what: "revoke command started".to_owned() });
        self.revoke(halt)?;
        let returned = clock.seconds();
        marks.push(Mark { at: returned, what: format!("revoke command returned after {:.2} s", returned - started) });
        self.watch(certificates, halt)?;
        let done = clock.seconds();
        let (since_start, since_return) = (done - started, done - returned);
        let what = format!(
            "all answers for {count} certificates revoked: {since_start:.2} s after the command started, {since_return:.2} s after it returned"
        );
        marks.push(Mark { at: done, what });
        Ok(())
    }

    fn revoke(&self, halt: &AtomicBool) -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", self.command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        // A group of its own, so that what the shell has started ends with it.
        let mut child = command.process_group(0).spawn().context("--revoke-command")?;
        loop {
            if let Some(status) = child.try_wait().context("--revoke-command")? {
                ensure!(status.success(), "--revoke-command: '{}' has failed: {status}", self.command);
                return Ok(());
            }
            if halt.load(Ordering::Relaxed) {
                let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                let _ = group.map(|group| kill_process_group(group, Signal::KILL));
                let _ = child.wait();
                bail!("--revoke-command: '{}' was still at work when the load was over", self.command);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Asks again about each that is not revoked yet.
    fn watch(&self, mut left: Vec<RequestId>, halt: &AtomicBool) -> Result<()> {
        let mut client = Client::new(self.endpoint);
        while !left.is_empty() {
            let before = left.len();
            let mut still = Vec::new();
            for round in left.chunks(ROUND) {
                ensure!(!halt.load(Ordering::Relaxed), "{before} of the certificates were not answered revoked before the load was over");
                let said = client.statuses(self.targets, round)?;
                still.extend(round.iter().zip(said).filter(|(_, said)| *said != Some(Said::Revoked)).map(|(id, _)| *id));
            }
            if still.len() == before {
                std::thread::sleep(LOOK);
            }
            left = still;
        }
        Ok(())
    }
}

fn sleep_until(clock: &Clock, seconds: f64, halt: &AtomicBool) {
    while clock.seconds() < seconds && !halt.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::serials::Listed;
    use crate::targets::{Ask, Hashes, Popularity, Questions, certificate::Certificate};

    fn drill(command: &str, revoke_after: &str, halt: &AtomicBool) -> Beside {
        let issuer = Certificate { subject: b"name".to_vec(), key_bits: b"key".to_vec(), ..Certificate::default() };
        let listed = [Listed { serial: vec![5], revoked: None, not_after: None }];
        let questions = Questions::about(&issuer, &listed, Hashes::Sha1, &Ask::default()).unwrap();
        let targets = Targets::new("", questions, Vec::new(), None, &Ask::default(), Popularity::Uniform).unwrap();
        let endpoint = Endpoint::resolve("http://127.0.0.1:9", None).unwrap();
        let incident = Incident { revoke_after: revoke_after.parse().unwrap(), calm: "1s".parse().unwrap() };
        Drill { incident, command, endpoint: &endpoint, targets: &targets }.run(&Clock::start(), halt)
    }

    #[test]
    fn what_the_command_has_started_ends_with_the_load() {
        let directory = tempfile::tempdir().unwrap();
        let (begun, ended) = (directory.path().join("begun"), directory.path().join("ended"));
        let command = format!("(touch '{}'; sleep 1; touch '{}') & wait", begun.display(), ended.display());
        let halt = AtomicBool::new(false);
        let beside = std::thread::scope(|scope| {
            let drill = scope.spawn(|| drill(&command, "1ms", &halt));
            while !begun.exists() {
                std::thread::sleep(LOOK);
            }
            halt.store(true, Ordering::Relaxed);
            drill.join().unwrap()
        });
        assert!(beside.failure.unwrap().contains("was still at work when the load was over"));
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!ended.exists());
    }

    #[test]
    fn nothing_is_revoked_when_the_load_is_over_before_its_time() {
        let beside = drill("true", "1h", &AtomicBool::new(true));
        assert_eq!(beside.marks, []);
        assert!(beside.failure.unwrap().contains("nothing was revoked"));
    }
}
