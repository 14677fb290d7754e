//! A server of HTTP/1.1 in the test's own process: a thread a connection, and whatever answer the test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Its header lines.
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header field, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        self.head.lines().filter_map(field).find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// What is written back, octet by octet; `None` closes the connection.
pub type Answer = dyn Fn(&Request) -> Option<Vec<u8>> + Send + Sync;

/// Serves until the test is over, and says where.
pub fn serve(answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer: Arc<Answer> = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || converse(stream, &*answer));
        }
    });
    address
}

/// Status line, headers, and a body with its length.
pub fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).as_bytes(), body].concat()
}

fn converse(mut stream: TcpStream, answer: &Answer) {
    let _ = stream.set_nodelay(true);
    let (mut octets, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        while let Some((request, length)) = request(&octets) {
            octets.drain(..length);
            match answer(&request) {
                Some(answer) if stream.write_all(&answer).is_ok() => {}
                _ => return,
            }
        }
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => octets.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
}

fn request(octets: &[u8]) -> Option<(Request, usize)> {
    let head = octets.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&octets[..head]).unwrap();
    let length =
        text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or(0);
    let body = octets.get(head..head + length)?.to_vec();
    let mut words = text.split(' ').map(str::to_owned);
    Some((Request { method: words.next().unwrap(), path: words.next().unwrap(), head: text.to_owned(), body }, head + length))
}
