//! The same over HTTP: the real server on one core, the load and the swapping thread on the other.
//!
//! The load gets half of its core in every state: where nothing is swapped, the other thread spins. What is compared is CPU time of the server's thread.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result};
use kakunin::responder::{Limits, Server, Stop};

use super::content::Loaded;
use super::load::{Load, Random};
use super::machine;
use super::serving::{PATTERN, gets};
use super::swapping::{ANSWERING, Round, SWAPPING, State, Swapper};
use super::world::World;

/// How long one state lasts before the next.
const WINDOW: Duration = Duration::from_millis(500);
/// How often each round goes through all states and back.
const TURNS: usize = 2;
/// What the server's only thread is called.
const SERVER_THREAD: &str = "http-0";

/// Serves, asks and counts.
pub(crate) fn rounds(world: &World, loaded: &Loaded, swapper: &Swapper, rounds: u64) -> Result<Vec<Round>> {
    let requests = gets(world, &loaded.hashes);
    machine::pin(ANSWERING)?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (stop, server) = (Stop::new(), Server::bind(&[any], NonZeroUsize::MIN, Limits::default())?);
    let running = server.run(&loaded.content, &stop)?;
    machine::pin(SWAPPING)?;
    let address = *running.addresses().first().context("the server has an address")?;
    let (thread, mut random) = (machine::thread_named(SERVER_THREAD)?, Random(2));
    let mut one = |_| {
        let mut round = Round::default();
        for _ in 0..TURNS {
            for state in [State::Spin, State::Elsewhere, State::Here, State::Here, State::Elsewhere, State::Spin] {
                let ask = || Ok(Load::new(address, &requests, PATTERN, &mut random)?.run(WINDOW)?.responses);
                round.add(state, swapper.during(state, &thread, ask)?);
            }
        }
        Ok(round)
    };
    let outcome = (0..rounds).map(&mut one).collect();
    stop.stop();
    running.join();
    outcome
}
