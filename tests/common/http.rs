//! A small HTTP/1.1 client over a TCP stream: it sends exactly what it is told to, which real clients refuse.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The longest time that one read or write may take: more than the service gives a slow client.
const LIMIT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header that is there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice: {:?}", self.headers);
        value
    }

    /// The value of a header that must be there.
    pub fn expect(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {}: {:?}", self.status, self.headers))
    }

    /// Whether it is the last one on its connection.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is kept.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects to `http://HOST:PORT…`.
    pub fn open(url: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(host(url))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Connection(BufReader::new(stream)))
    }

    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(octets)
    }

    /// Reads one answer; `head`: to a HEAD request.
    pub fn receive(&mut self, head: bool) -> io::Result<Reply> {
        let status = self.line()?.ok_or(ErrorKind::UnexpectedEof)?;
        let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = code.ok_or_else(|| io::Error::other(format!("not a status line: {status:?}")))?;
        let mut headers = Vec::new();
        while let Some(line) = self.line()?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("not a header: {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        reply.body = match reply.header("content-length").map(|n| n.parse().unwrap()) {
            _ if head || status == 304 || status == 204 => Vec::new(),
            Some(length) => self.exactly(length)?,
            None if reply.header("transfer-encoding").is_some() => self.chunks()?,
            None => self.rest()?,
        };
        Ok(reply)
    }

    /// Reads one answer; `None` where the other side has ended the connection before the first octet of it. An answer that stops short is an error.
    pub fn next(&mut self) -> io::Result<Option<Reply>> {
        match self.0.fill_buf() {
            Ok([]) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(None),
            Err(e) => Err(e),
            Ok(_) => self.receive(false).map(Some),
        }
    }

    /// Sends a request and reads the answer to it.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.send(request)?;
        self.receive(request.starts_with(b"HEAD "))
    }

    /// Everything until the other side closes.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.0.read_to_end(&mut content)?;
        Ok(content)
    }

    /// Nothing more will be sent.
    pub fn finish(&mut self) {
        let _ = self.0.get_mut().shutdown(std::net::Shutdown::Write);
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.0.by_ref().take(64 * 1024).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut content = vec![0; length];
        self.0.read_exact(&mut content)?;
        Ok(content)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let line = self.line()?.ok_or(ErrorKind::UnexpectedEof)?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            content.extend(self.exactly(length)?);
            self.line()?;
            if length == 0 {
                return Ok(content);
            }
        }
    }
}

/// Host and port of a URL.
pub fn host(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}: not an http URL")).split('/').next().unwrap()
}

/// A request as it goes over the wire.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: ocsp.example\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    body.iter().for_each(|body| head += &format!("Content-Length: {}\r\n", body.len()));
    [head.as_bytes(), b"\r\n", body.unwrap_or_default()].concat()
}

/// One request on a connection of its own, for `{url}{path}`.
pub fn exchange(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
    let base = url.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or("");
    let target = format!("{base}{path}");
    let sent = request(method, &target, headers, body);
    Connection::open(url).and_then(|mut connection| connection.exchange(&sent)).unwrap_or_else(|e| panic!("{method} {url}{path}: {e}"))
}

pub fn get(url: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    exchange(url, "GET", path, headers, None)
}

/// Posts an OCSP request.
pub fn post(url: &str, path: &str, request: &[u8]) -> Reply {
    exchange(url, "POST", path, &[("Content-Type", "application/ocsp-request")], Some(request))
}

/// The body of something that must be there.
pub fn fetch(url: &str, path: &str) -> Vec<u8> {
    let reply = get(url, path, &[]);
    assert_eq!(reply.status, 200, "{url}{path}: {}", reply.text());
    reply.body
}
