//! A service that is asked to stop while clients go on asking.
//!
//! What HTTP promises them (RFC 9112 9.3, 9.6): every request is answered whole, or not with a single octet. After an answer with `Connection: close` none
//! follows, and what was sent behind it was not looked at. A server may close a connection on which it has nothing to answer, and a request that was on its
//! way then may be sent again. So nothing is ever in doubt. Beyond that no request is lost that was sent before the stop, and who asks without a pause is
//! told of it by an answer, and so loses none at all.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::World;
use super::common::http::{self, Connection};
use super::common::random::Random;
use super::common::until;

const ROUNDS: usize = 5;
/// Clients by how many requests they send at once, each after the answers to those before.
const DEPTHS: [usize; 8] = [1, 1, 1, 1, 1, 1, 4, 16];
const IDLE: usize = 50;
/// Where requests follow each other as closely as this, no connection ends without a word: the service waits twice as long for the next one.
const WITHOUT_PAUSE: Duration = Duration::from_millis(10);

/// What became of the requests of a client.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    answered: usize,
    /// Connections that ended with an answer that said so.
    announced: usize,
    /// Requests that were sent behind one that was the last.
    behind: usize,
    /// Connections that ended without saying so, while a request was on its way.
    surprised: usize,
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(tallies: I) -> Tally {
        tallies.fold(Tally::default(), |a, b| Tally {
            answered: a.answered + b.answered,
            announced: a.announced + b.announced,
            behind: a.behind + b.behind,
            surprised: a.surprised + b.surprised,
        })
    }
}

/// A client that asks without a pause.
struct Client<'a> {
    world: &'a World,
    /// Requests sent at once.
    depth: usize,
    /// Set before the service is told to stop.
    stop: &'a OnceLock<Instant>,
    /// When the requests before the present ones were sent on their connection.
    sent_before: Option<Instant>,
    tally: Tally,
}

impl Client<'_> {
    /// Asks until the service ends the connection because of the stop.
    fn run(mut self, url: &str) -> Tally {
        while self.stop.get().is_none() {
            match Connection::open(url) {
                Ok(mut connection) => {
                    self.sent_before = None;
                    while self.ask(&mut connection) {}
                }
                Err(e) => assert!(self.stop.get().is_some(), "refused before the stop: {e}"),
            }
        }
        self.tally
    }

    /// Sends requests at once and reads their answers; false where the connection has ended.
    fn ask(&mut self, connection: &mut Connection) -> bool {
        let first = self.tally.answered;
        let requests: Vec<u8> = (first..first + self.depth).flat_map(|number| self.world.request(number)).collect();
        let begun = Instant::now();
        let sent = connection.send(&requests).map(|()| Instant::now());
        for number in first..first + self.depth {
            let Some(reply) = connection.next().expect("a whole answer or nothing of it") else {
                let stop = *self.stop.get().expect("a connection has ended before the stop");
                assert!(!sent.is_ok_and(|sent| sent <= stop), "a request that was sent before the stop is lost");
                let pause = self.sent_before.map(|before| before.elapsed());
                assert!(pause.is_none_or(|pause| pause > WITHOUT_PAUSE), "a client that asks without a pause is told of the stop");
                self.tally.surprised += 1;
                return false;
            };
            self.world.judge(number, &reply);
            self.tally.answered += 1;
            if reply.closes() {
                self.tally.announced += 1;
                self.tally.behind += first + self.depth - self.tally.answered;
                assert_eq!(connection.next().unwrap(), None, "nothing follows the last answer");
                return false;
            }
        }
        self.sent_before = Some(begun);
        true
    }
}

/// One service from its start to its end.
fn round(world: &World, load: Duration) -> Tally {
    let mut service = world.serve("");
    let (url, stop) = (service.ocsp.clone(), OnceLock::new());
    let mut idle: Vec<_> = (0..IDLE).map(|_| Connection::open(&url).unwrap()).collect();
    idle.iter_mut().step_by(2).enumerate().for_each(|(number, connection)| world.ask_on(connection, number));
    let (request, mut begun) = (world.request(0), Connection::open(&url).unwrap());
    begun.send(&request[..request.len() - 20]).unwrap();
    std::thread::scope(|scope| {
        let clients = DEPTHS.map(|depth| {
            let (client, url) = (Client { world, depth, stop: &stop, sent_before: None, tally: Tally::default() }, &url);
            scope.spawn(move || client.run(url))
        });
        std::thread::sleep(load);
        stop.set(Instant::now()).unwrap();
        service.process.signal("TERM");
        until(Duration::from_secs(10), "new connections are refused", || Connection::open(&url).is_err().then_some(()));
        begun.send(&request[request.len() - 20..]).unwrap();
        let reply = begun.receive(false).unwrap();
        world.judge(0, &reply);
        assert_eq!(begun.next().unwrap(), None, "nothing follows what was begun before the stop");
        assert!(idle.iter_mut().all(|connection| connection.next().unwrap().is_none()), "idle connections are closed");
        let status = service.process.wait(Duration::from_secs(10)).expect("the service ends");
        assert_eq!(status.code(), Some(0), "{}", service.stderr());
        service.stderr();
        clients.map(|client| client.join().unwrap()).into_iter().sum()
    })
}

#[test]
fn a_stop_under_load_loses_no_request() {
    let mut random = Random::seeded("drain");
    let world = World::new("200", "40");
    for _ in 0..ROUNDS {
        let tally = round(&world, Duration::from_millis(100 + random.below(200) as u64));
        println!("{tally:?}");
        assert!(tally.answered > DEPTHS.len());
    }
}

#[test]
fn a_stop_is_announced_before_anybody_is_turned_away() {
    let world = World::new("20", "4");
    let mut service = world.serve("announce_stop = \"1500ms\"");
    until(Duration::from_secs(10), "ready", || (http::get(&service.admin, "/readyz", &[]).status == 200).then_some(()));
    let stop = Instant::now();
    service.process.signal("TERM");
    let readiness = || http::get(&service.admin, "/readyz", &[]);
    until(Duration::from_secs(1), "not ready at once", || (readiness().status == 503).then_some(()));
    assert_eq!(readiness().text(), "stopping\n");
    let mut announced = 0;
    while stop.elapsed() < Duration::from_millis(1200) {
        world.ask(&service.ocsp, announced);
        announced += 1;
    }
    assert!(announced > 0 && readiness().status == 503);
    // What is in flight keeps the process, and its admin listener tells so.
    let (request, mut begun) = (world.request(0), Connection::open(&service.ocsp).unwrap());
    begun.send(&request[..request.len() - 20]).unwrap();
    until(Duration::from_secs(10), "new connections are refused", || Connection::open(&service.ocsp).is_err().then_some(()));
    assert!(stop.elapsed() >= Duration::from_millis(1500));
    assert_eq!(readiness().text(), "stopping\n");
    begun.send(&request[request.len() - 20..]).unwrap();
    world.judge(0, &begun.receive(false).unwrap());
    let status = service.process.wait(Duration::from_secs(10)).expect("the service ends");
    assert_eq!(status.code(), Some(0), "{}", service.stderr());
}
