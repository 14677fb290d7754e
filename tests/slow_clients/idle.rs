//! Connections on which nothing happens.

use std::io::ErrorKind;

use super::common::http::Connection;
use super::common::{PATIENCE, Service, until};
use super::{OPEN_CONNECTIONS, World};

const IDLE: usize = 10_000;
/// Places for others beside them.
const SPARE: usize = 40;
/// Connections beyond all places.
const REFUSED: usize = 100;
/// What an idle connection may keep of the server's memory, unoptimised as tests are: it holds no buffer (see `Limits`), and those have 8 KiB or more.
const BYTES_EACH: u64 = 4 << 10;

/// Half of them have never asked anything, the others once.
fn open_idle(world: &World, service: &Service) -> Vec<Connection> {
    let mut idle: Vec<_> = (0..IDLE).map(|_| Connection::open(&service.ocsp).unwrap()).collect();
    idle.iter_mut().step_by(2).enumerate().for_each(|(number, connection)| world.ask_on(connection, number));
    until(PATIENCE, "all idle connections are taken on", || (service.metric(OPEN_CONNECTIONS) == IDLE as u64).then_some(()));
    idle
}

/// Whether the service has ended a connection without a single octet.
fn is_ended(connection: &mut Connection) -> bool {
    match connection.next() {
        Ok(None) => true,
        Ok(Some(reply)) => panic!("an answer that nobody asked for: {reply:?}"),
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{e}");
            false
        }
    }
}

/// Beyond all places connections are refused; nobody else notices, and the next one has a place again.
fn fill_up(world: &World, service: &Service, idle: &mut [Connection]) {
    let mut last: Vec<_> = (0..SPARE).map(|_| Connection::open(&service.ocsp).unwrap()).collect();
    last.iter_mut().enumerate().for_each(|(number, connection)| world.ask_on(connection, number));
    for _ in 0..REFUSED {
        assert!(is_ended(&mut Connection::open(&service.ocsp).unwrap()), "refused");
    }
    assert_eq!(service.metric("kakunin_connections_total{kind=\"refused\"}"), REFUSED as u64);
    last.iter_mut().chain(idle.iter_mut().step_by(100)).enumerate().for_each(|(number, connection)| world.ask_on(connection, number));
    drop(last);
    until(PATIENCE, "places are free again", || (service.metric(OPEN_CONNECTIONS) <= IDLE as u64).then_some(()));
    world.ask(&service.ocsp, 0);
}

/// The test of this file.
pub(super) fn ten_thousand_idle_connections_cost_little_and_are_closed_in_time() {
    let world = World::new("200", "40");
    let mut service = world.serve(&format!("max_connections = {}\nheader_read_timeout = \"20s\"", IDLE + SPARE));
    (0..200).for_each(|number| world.ask(&service.ocsp, number));
    let before = service.process.resident_bytes();
    let mut idle = open_idle(&world, &service);
    let first = service.process.resident_bytes();
    fill_up(&world, &service, &mut idle);
    drop(idle);
    until(PATIENCE, "clients that leave are let go", || (service.metric(OPEN_CONNECTIONS) == 0).then_some(()));
    let between = service.process.resident_bytes();

    let mut idle = open_idle(&world, &service);
    let second = service.process.resident_bytes();
    let ((), asked) = world.while_others_ask(&service.ocsp, || {
        let is_closed = || (service.metric(OPEN_CONNECTIONS) <= SPARE as u64).then_some(());
        until(PATIENCE, "idle connections are closed", is_closed);
    });
    assert!(idle.iter_mut().all(is_ended));
    let each = |after: u64| after.saturating_sub(before) / IDLE as u64;
    println!("octets for each idle connection: {} and {}, afterwards {}; {asked} others asked", each(first), each(second), each(between));
    assert!(each(first) < BYTES_EACH && each(second) < BYTES_EACH, "wanted less than {BYTES_EACH}");
    assert!(service.process.is_running());
    service.stop();
}
