//! A simple client, one request after the other: for what is fetched before a load and looked at beside it. Never for measuring.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustls::{ClientConnection, StreamOwned};

use crate::endpoint::Endpoint;
use crate::load::{Reader, Said};
use crate::targets::{Document, Parts, Picker, RequestId, Targets};
use crate::truth::headers::Fields;

/// How long it waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a whole exchange may take: a great CRL over a bad line.
const EXCHANGE: Duration = Duration::from_secs(300);
/// Requests that are sent at once.
const BATCH: usize = 32;
/// How long the first answer is waited for.
const KNOCK: Duration = Duration::from_secs(2);

/// A connection, made anew whenever the server has closed it.
pub struct Client<'a> {
    endpoint: &'a Endpoint,
    address: SocketAddr,
    stream: Option<Box<dyn Duplex>>,
    patience: Duration,
    /// For the whole of an exchange, by however little its answer comes at a time.
    exchange: Duration,
    /// Whether whole bodies are wanted.
    whole: bool,
}

trait Duplex: Read + Write + Send {}
impl<S: Read + Write + Send> Duplex for S {}

struct Answer {
    status: u16,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl<'a> Client<'a> {
    /// Not connected yet.
    pub fn new(endpoint: &'a Endpoint) -> Client<'a> {
        Client { endpoint, address: endpoint.address, stream: None, patience: PATIENCE, exchange: EXCHANGE, whole: true }
    }

    /// Asks one question, to see at which of its addresses anybody is there. What is answered, and whether, is left to the load: a connection without a question
    /// would end `openssl ocsp`.
    ///
    /// # Errors
    ///
    /// The reason why there is no connection, with the address.
    pub fn knock(&mut self, targets: &Targets) -> Result<SocketAddr> {
        (self.patience, self.exchange, self.whole) = (KNOCK, KNOCK, false);
        let stream = self.connect()?;
        let mut out = Vec::new();
        write(&mut out, &targets.parts(Picker::new(targets, 0, 1).pick()), &self.endpoint.host);
        let _ = self.exchange(stream, &out, 1);
        Ok(self.address)
    }

    /// Fetches a CRL.
    ///
    /// # Errors
    ///
    /// A path that is none, and whatever is not answered 200.
    pub fn fetch(&mut self, path: &str) -> Result<Document> {
        ensure!(
            path.starts_with('/') && path.bytes().all(|octet| octet.is_ascii_graphic()),
            "--crl: found '{path}', wanted a path on the service, such as /crl/issuing.crl"
        );
        let parts = Parts { path: path.as_bytes(), header: b"", body: None };
        let answer = self.ask(&[parts])?.pop().with_context(|| format!("--crl: {path}: no answer"))?;
        ensure!(answer.status == 200, "--crl: {path}: found status {}, wanted 200", answer.status);
        let head = String::from_utf8_lossy(&answer.head);
        Ok(Document { path: path.to_owned(), etag: Fields::of(&head).get("etag").map(str::to_owned), body: answer.body })
    }

    /// What the service says to each question now; `None` to one that it fails.
    ///
    /// # Errors
    ///
    /// Where it does not answer at all.
    pub fn statuses(&mut self, targets: &Targets, ids: &[RequestId]) -> Result<Vec<Option<Said>>> {
        let mut all = Vec::with_capacity(ids.len());
        while all.len() < ids.len() {
            let batch = &ids[all.len()..ids.len().min(all.len() + BATCH)];
            let parts: Vec<Parts<'_>> = batch.iter().map(|id| targets.parts(*id)).collect();
            let answers = self.ask(&parts)?;
            let said = answers.iter().zip(batch).map(|(answer, id)| Said::of(id.kind, targets.expected(*id), answer.status, &answer.body));
            all.extend(said);
        }
        Ok(all)
    }

    /// Sends requests at once and reads their answers: at least one, and fewer than requests where the server closes the connection.
    fn ask(&mut self, requests: &[Parts<'_>]) -> Result<Vec<Answer>> {
        let mut out = Vec::new();
        requests.iter().for_each(|parts| write(&mut out, parts, &self.endpoint.host));
        let was_open = self.stream.is_some();
        let stream = self.connect()?;
        match self.exchange(stream, &out, requests.len()) {
            // It may have been closed since the last answer.
            Err(_) if was_open => {
                let stream = self.connect()?;
                self.exchange(stream, &out, requests.len())
            }
            answers => answers,
        }
    }

    fn exchange(&mut self, mut stream: Box<dyn Duplex>, out: &[u8], count: usize) -> Result<Vec<Answer>> {
        let address = self.address;
        let end = Instant::now() + self.exchange;
        stream.write_all(out).with_context(|| format!("asking {address}"))?;
        let (mut answers, mut reader, mut buffer) = (Vec::new(), Reader::default(), vec![0; 64 << 10]);
        loop {
            let length = stream.read(&mut buffer).with_context(|| format!("reading from {address}"))?;
            let mut input = &buffer[..length];
            while let Some(reply) = reader.read(&mut input, self.whole)? {
                answers.push(Answer { status: reply.status, head: reply.head.to_vec(), body: reply.body.to_vec() });
                if reply.closes {
                    return Ok(answers);
                }
            }
            if length == 0 {
                let last =
                    reader.closed().map(|reply| Answer { status: reply.status, head: reply.head.to_vec(), body: reply.body.to_vec() });
                answers.extend(last);
                if answers.is_empty() {
                    bail!("{address} has closed the connection without an answer");
                }
                return Ok(answers);
            }
            if answers.len() == count {
                self.stream = Some(stream);
                return Ok(answers);
            }
            ensure!(Instant::now() < end, "{address}: found no end of an answer after {:?}, wanted one", self.exchange);
        }
    }

    /// Connects to the first address at which somebody listens, and stays with it. Where nobody does, says why not at the first one.
    fn reach(&mut self) -> Result<TcpStream> {
        let mut why = None;
        let others = self.endpoint.addresses.iter().copied().filter(|other| *other != self.address);
        for address in [self.address].into_iter().chain(others) {
            let connected = TcpStream::connect_timeout(&address, PATIENCE);
            match connected.with_context(|| format!("{}: connecting to {address}", self.endpoint.url)) {
                Ok(stream) => {
                    self.address = address;
                    return Ok(stream);
                }
                Err(e) => why = why.or(Some(e)),
            }
        }
        Err(why.unwrap_or_else(|| anyhow!("{}: no address", self.endpoint.url)))
    }

    /// Takes the open connection, or makes one.
    fn connect(&mut self) -> Result<Box<dyn Duplex>> {
        if let Some(stream) = self.stream.take() {
            return Ok(stream);
        }
        let mut stream = self.reach()?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        let Some(tls) = &self.endpoint.tls else { return Ok(Box::new(stream)) };
        let mut connection = ClientConnection::new(tls.config.clone(), tls.name.clone()).context("TLS")?;
        connection.complete_io(&mut stream).with_context(|| format!("{}: TLS with {}", self.endpoint.url, self.address))?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }
}

fn write(out: &mut Vec<u8>, parts: &Parts<'_>, host: &str) {
    let method = if parts.body.is_some() { "POST" } else { "GET" };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(parts.path);
    out.extend_from_slice(format!(" HTTP/1.1\r\nHost: {host}\r\n").as_bytes());
    out.extend_from_slice(parts.header);
    if let Some(body) = parts.body {
        out.extend_from_slice(format!("Content-Type: application/ocsp-request\r\nContent-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(parts.body.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{Ask, Popularity, Questions};

    /// Answers one request with a head and then an octet every 50 ms, until nobody listens.
    fn trickling() -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
            while sent.is_ok() {
                std::thread::sleep(Duration::from_millis(50));
                sent = stream.write_all(b"x");
            }
        });
        address
    }

    #[test]
    fn an_answer_that_never_ends_is_not_waited_for() {
        let address = trickling();
        let endpoint = Endpoint::resolve(&format!("http://{address}"), None).unwrap();
        let questions = Questions::ready_made([vec![0x30, 0]]);
        let targets = Targets::new("", questions, Vec::new(), None, &Ask::default(), Popularity::Uniform).unwrap();
        let start = Instant::now();
        assert_eq!(Client::new(&endpoint).knock(&targets).unwrap(), address);
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    }
}
