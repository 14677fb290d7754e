//! Slow clients beside a load: each holds a connection and sends its request an octet a second, as a bad line or an attacker does. A good server serves the
//! others as well as without them, and cuts these off sooner or later.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::load::Job;
use crate::record::Mark;

/// How often each sends an octet.
const BEAT: Duration = Duration::from_secs(1);
/// How long connecting may take.
const PATIENCE: Duration = Duration::from_millis(500);

struct Client {
    stream: TcpStream,
    sent: usize,
}

/// Plays them until the load is over, which the halt of the job or its duration says. Tells how many could connect, and how many were cut off.
pub(crate) fn trickle(job: &Job<'_>) -> Vec<Mark> {
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Slow: {}", job.endpoint.host, "x".repeat(4096));
    let connect = |_| {
        let stream = TcpStream::connect_timeout(&job.endpoint.address, PATIENCE).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Client { stream, sent: 0 })
    };
    let wanted = job.settings.slow_clients;
    let is_over = || job.is_halted() || job.clock.seconds() >= job.settings.duration.as_secs_f64();
    let mut clients: Vec<Client> = (0..wanted).take_while(|_| !is_over()).filter_map(connect).collect();
    let connected = clients.len();
    let mut marks = vec![Mark { at: job.clock.seconds(), what: format!("{connected} of {wanted} slow clients connected") }];
    while !is_over() {
        clients.retain_mut(|client| client.beat(request.as_bytes()));
        std::thread::sleep(BEAT);
    }
    marks.push(Mark { at: job.clock.seconds(), what: format!("{} slow clients cut off", connected - clients.len()) });
    marks
}

impl Client {
    /// Sends the next octet. Returns whether the connection is still there.
    fn beat(&mut self, request: &[u8]) -> bool {
        let mut answer = [0; 512];
        match self.stream.read(&mut answer) {
            Ok(_) => return false,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        let next = &request[self.sent % request.len()..][..1];
        match self.stream.write(next) {
            Ok(written) => {
                self.sent += written;
                true
            }
            Err(e) => e.kind() == ErrorKind::WouldBlock,
        }
    }
}
