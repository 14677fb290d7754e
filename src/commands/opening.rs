//! Opening the keys of issuers: one after the other, or for a running service in the background, so that a token that does not answer holds up nobody but the
//! issuers whose keys are on it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::setup::{self, KeyRing};
use crate::config::{Config, IssuerConfig};
use crate::registry::Registry;
use crate::signing::IssuerSigning;
use crate::token::TokenError;

/// How long tokens are waited for while nothing comes of it: far longer than any takes to log in, or to try a key.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody wants to stop meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// What came of opening the keys of the issuers.
#[derive(Default)]
pub(super) struct Opened {
    /// Whose keys are open.
    pub(super) issuers: Vec<IssuerSigning>,
    /// Whose are not.
    pub(super) unopened: Vec<Unopened>,
    /// The names of all whose keys were to be opened; those that are in neither list are closed.
    pub(super) tried: BTreeSet<String>,
}

/// An issuer that cannot be signed for.
pub(super) struct Unopened {
    pub(super) name: String,
    pub(super) why: anyhow::Error,
}

impl Opened {
    /// The issuers, where all could be opened.
    pub(super) fn all(self) -> Result<Vec<IssuerSigning>> {
        match self.unopened.into_iter().next() {
            Some(Unopened { name, why }) => Err(why.context(format!("issuer '{name}'"))),
            None => Ok(self.issuers),
        }
    }
}

impl Unopened {
    /// Whether it may be only a matter of time: a token that is absent or fails, a key that is not on it yet. Anything else is for the operator to mend.
    pub(super) fn may_come_back(&self) -> bool {
        let absent = |cause: &TokenError| match cause {
            TokenError::TokenLabel { count, .. } | TokenError::KeyCount { count, .. } => *count == 0,
            TokenError::ModuleStart { .. } | TokenError::Token { .. } | TokenError::Busy { .. } | TokenError::Silent { .. } => true,
            _ => false,
        };
        self.why.chain().any(|cause| cause.downcast_ref::<TokenError>().is_some_and(absent))
    }

    /// Whether another try might lock the token.
    pub(super) fn pin_refused(&self) -> bool {
        let refused = |cause: &TokenError| matches!(cause, TokenError::WrongPin { .. } | TokenError::PinLocked { .. });
        self.why.chain().any(|cause| cause.downcast_ref::<TokenError>().is_some_and(refused))
    }
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "issuer '{}': {:#}", self.name, self.why)
    }
}

/// Registers the `wanted` issuers of the configuration, and opens what is needed to sign for those that are not closed.
pub(super) fn open_signing(config: &Config, registry: &dyn Registry, wanted: impl Fn(&str) -> bool) -> Opened {
    let mut ring = KeyRing::new(config);
    let mut opened = Opened::default();
    for issuer in config.issuers.iter().filter(|issuer| wanted(&issuer.name)) {
        opened.tried.insert(issuer.name.clone());
        match setup::open_issuer(&mut ring, config, issuer, registry) {
            Ok(signing) => opened.issuers.extend(signing),
            Err(why) => opened.unopened.push(Unopened { name: issuer.name.clone(), why }),
        }
    }
    opened
}

/// Issuers that have keys on the same tokens: each token is opened by one thread, and its PIN tried once.
struct Group {
    tokens: BTreeSet<String>,
    issuers: BTreeSet<String>,
    /// When the keys of the issuer were begun to be opened that are being opened; `None`: nobody is at it.
    begun: Option<Arc<Mutex<Instant>>>,
}

impl Group {
    /// Whether somebody is at it, and something may come of it yet.
    fn is_awaited(&self) -> bool {
        let elapsed = |begun: &Arc<Mutex<Instant>>| begun.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        self.begun.as_ref().is_some_and(|begun| elapsed(begun) < PATIENCE)
    }
}

/// Opens keys in the background.
pub(super) struct Opening {
    pub(super) config: Arc<Config>,
    pub(super) registry: Arc<dyn Registry>,
    groups: Vec<Group>,
    sender: Sender<(usize, Opened)>,
    answers: Receiver<(usize, Opened)>,
}

impl Opening {
    /// For the issuers of a configuration. Opens nothing yet.
    pub(super) fn new(config: &Config, registry: &Arc<dyn Registry>) -> Opening {
        let (sender, answers) = channel();
        Opening { config: Arc::new(config.clone()), registry: registry.clone(), groups: groups(&config.issuers), sender, answers }
    }

    /// Begins to open the keys of these issuers, but for those whose tokens have not answered yet.
    pub(super) fn begin(&mut self, wanted: impl Fn(&str) -> bool) {
        for (index, group) in self.groups.iter_mut().enumerate().filter(|(_, group)| group.begun.is_none()) {
            let names: BTreeSet<String> = group.issuers.iter().filter(|name| wanted(name)).cloned().collect();
            if names.is_empty() {
                continue;
            }
            let (config, registry, sender, tried) = (self.config.clone(), self.registry.clone(), self.sender.clone(), names.clone());
            let begun = Arc::new(Mutex::new(Instant::now()));
            group.begun = Some(begun.clone());
            let open = move || {
                let next = |name: &str| {
                    *begun.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    names.contains(name)
                };
                // Whether anybody still wants to know is for them to say.
                drop(sender.send((index, open_signing(&config, registry.as_ref(), next))));
            };
            if let Err(failure) = std::thread::Builder::new().name("opening".to_owned()).spawn(open) {
                let unopened = |name: &String| Unopened { name: name.clone(), why: anyhow!("no thread to open its keys: {failure}") };
                let opened = Opened { unopened: tried.iter().map(unopened).collect(), tried, ..Opened::default() };
                drop(self.sender.send((index, opened)));
            }
        }
    }

    /// What has come of it: of all that was begun, or after a while of those whose tokens have answered. The others' answers come with a later call.
    pub(super) fn wait(&mut self, is_stopped: &dyn Fn() -> bool) -> Opened {
        let mut all = Opened::default();
        loop {
            let is_awaited = self.groups.iter().any(Group::is_awaited);
            match self.answers.recv_timeout(if is_awaited { LOOK } else { Duration::ZERO }) {
                Ok((index, Opened { issuers, unopened, tried })) => {
                    self.groups[index].begun = None;
                    all.issuers.extend(issuers);
                    all.unopened.extend(unopened);
                    all.tried.extend(tried);
                }
                Err(_) if is_awaited && !is_stopped() => {}
                Err(_) => break,
            }
        }
        let place = |name: &str| self.config.issuers.iter().position(|issuer| issuer.name == name);
        all.issuers.sort_by_key(|signing| place(&signing.issuer.name));
        all.unopened.sort_by_key(|unopened| place(&unopened.name));
        all
    }

    /// The issuers whose tokens have not answered.
    pub(super) fn silent(&self) -> impl Iterator<Item = Unopened> {
        let silent = self.groups.iter().filter(|group| group.begun.is_some());
        silent.flat_map(|group| group.issuers.iter().map(move |name| (name, group))).map(|(name, group)| {
            let tokens = group.tokens.iter().map(|token| format!("'{token}'")).collect::<Vec<_>>().join(", ");
            Unopened { name: name.clone(), why: TokenError::Silent { tokens, seconds: PATIENCE.as_secs() }.into() }
        })
    }
}

/// The issuers in as many groups as can be without one token in two of them; those whose keys are all in files are one.
fn groups(issuers: &[IssuerConfig]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for issuer in issuers {
        let keys = issuer.key.iter().chain(issuer.responder.as_ref().map(|responder| &responder.key));
        let tokens: BTreeSet<String> = keys.filter_map(|key| key.token.clone()).collect();
        let is_same = |group: &Group| !group.tokens.is_disjoint(&tokens) || (tokens.is_empty() && group.tokens.is_empty());
        let (same, others): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(is_same);
        let mut group = Group { tokens, issuers: BTreeSet::from([issuer.name.clone()]), begun: None };
        for one in same {
            group.tokens.extend(one.tokens);
            group.issuers.extend(one.issuers);
        }
        groups = others;
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(name: &str, key: Option<&str>, responder: Option<&str>) -> IssuerConfig {
        let of = |token: &str| {
            if token == "file" { "{ file = 'key.pem' }".to_owned() } else { format!("{{ token = '{token}', label = 'key' }}") }
        };
        let key = key.map(|key| format!("key = {}\n", of(key))).unwrap_or_default();
        let responder = responder.map(|key| format!("[responder]\ncertificate = 'ocsp.pem'\nkey = {}\n", of(key))).unwrap_or_default();
        toml::from_str(&format!("name = '{name}'\ncertificate = 'ca.pem'\n{key}{responder}")).unwrap()
    }

    #[test]
    fn s1_1_no_token_is_in_two_groups_and_no_issuer_waits_for_anothers() {
        let names = |issuers: &[IssuerConfig]| {
            let mut all: Vec<String> = groups(issuers).iter().map(|group| group.issuers.iter().cloned().collect::<String>()).collect();
            all.sort();
            all
        };
        let mut issuers = vec![
            issuer("a", Some("one"), None),
            issuer("b", Some("file"), Some("file")),
            issuer("c", Some("file"), Some("two")),
            issuer("d", None, None),
            issuer("e", Some("one"), Some("file")),
        ];
        assert_eq!(names(&issuers), ["ae", "bd", "c"]);
        issuers.push(issuer("f", Some("two"), Some("one")));
        assert_eq!(names(&issuers), ["acef", "bd"], "one that has keys on both");
    }
}
