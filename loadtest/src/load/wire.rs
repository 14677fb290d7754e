//! One request over HTTP/2, or over HTTP/1.1 inside TLS, on tokio.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderName, HeaderValue, Method, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Job;
use super::http1::{Fields, write_request};
use super::reader::{MAX_BODY_BYTES, Reader};
use super::tally::Failure;
use crate::endpoint::Endpoint;
use crate::targets::RequestId;

/// What a server may send of one body, and on one connection, before it is taken: more than any OCSP response.
const WINDOW_BYTES: u32 = 1 << 20;

/// An answer, whole.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Whether the connection is of no more use.
    pub(super) closes: bool,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// A connection, inside TLS where the endpoint wants it.
async fn connect(endpoint: &Endpoint, protocol: &[u8]) -> Result<Box<dyn Duplex>, Failure> {
    let stream = TcpStream::connect(endpoint.address).await.map_err(|_| Failure::Connect)?;
    stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
    let Some(tls) = &endpoint.tls else { return Ok(Box::new(stream)) };
    let mut config = (*tls.config).clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    Ok(Box::new(connector.connect(tls.name.clone(), stream).await.map_err(|_| Failure::Tls)?))
}

/// A connection of HTTP/1.1.
pub(super) struct Http1 {
    stream: Box<dyn Duplex>,
    reader: Reader,
}

impl Http1 {
    /// Connects.
    pub(super) async fn connect(endpoint: &Endpoint) -> Result<Http1, Failure> {
        Ok(Http1 { stream: connect(endpoint, b"http/1.1").await?, reader: Reader::default() })
    }

    /// Asks, and waits for the whole answer.
    pub(super) async fn ask(&mut self, job: &Job<'_>, id: RequestId) -> Result<Reply, Failure> {
        let (mut out, mut buffer) = (Vec::new(), [0; 16 << 10]);
        write_request(&mut out, &job.targets.parts(id), &Fields::of(job));
        self.stream.write_all(&out).await.map_err(|_| Failure::Reset)?;
        self.stream.flush().await.map_err(|_| Failure::Reset)?;
        loop {
            let length = self.stream.read(&mut buffer).await.map_err(|_| Failure::Reset)?;
            let mut input = &buffer[..length];
            let reply = match self.reader.read(&mut input, true).map_err(|_| Failure::NotHttp)? {
                None if length == 0 => Some(self.reader.closed().ok_or(Failure::Closed)?),
                reply => reply,
            };
            if let Some(reply) = reply {
                let (head, body) = (reply.head.to_vec(), reply.body.to_vec());
                return Ok(Reply { status: reply.status, head, body, closes: reply.closes });
            }
        }
    }
}

/// A connection of HTTP/2, shared by all who ask on it.
#[derive(Clone)]
pub(super) struct Http2(SendRequest<Bytes>);

impl Http2 {
    /// Connects, by prior knowledge or inside TLS.
    pub(super) async fn connect(endpoint: &Endpoint) -> Result<Http2, Failure> {
        let stream = connect(endpoint, b"h2").await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(16 * WINDOW_BYTES).enable_push(false);
        let (sender, connection) = builder.handshake(stream).await.map_err(|_| Failure::NotHttp)?;
        tokio::spawn(connection);
        Ok(Http2(sender))
    }

    /// Asks, and waits for the whole answer.
    pub(super) async fn ask(self, job: &Job<'_>, id: RequestId) -> Result<Reply, Failure> {
        let (request, body) = request(job, id).ok_or(Failure::NotHttp)?;
        let mut sender = self.0.ready().await.map_err(|_| Failure::Reset)?;
        let (response, mut stream) = sender.send_request(request, body.is_none()).map_err(|_| Failure::Reset)?;
        if let Some(body) = body {
            stream.send_data(body, true).map_err(|_| Failure::Reset)?;
        }
        let response = response.await.map_err(|_| Failure::Reset)?;
        let status = response.status().as_u16();
        let mut head = format!("HTTP/2 {status}\r\n").into_bytes();
        for (name, value) in response.headers() {
            [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].iter().for_each(|part| head.extend_from_slice(part));
        }
        let (mut stream, mut body) = (response.into_body(), Vec::new());
        while let Some(chunk) = stream.data().await {
            let chunk = chunk.map_err(|_| Failure::Reset)?;
            body.extend_from_slice(&chunk);
            if body.len() as u64 > MAX_BODY_BYTES {
                return Err(Failure::NotHttp);
            }
            stream.flow_control().release_capacity(chunk.len()).map_err(|_| Failure::Reset)?;
        }
        Ok(Reply { status, head, body, closes: false })
    }
}

/// A request of HTTP/2; `None` where it cannot be one.
fn request(job: &Job<'_>, id: RequestId) -> Option<(Request<()>, Option<Bytes>)> {
    let parts = job.targets.parts(id);
    let scheme = if job.endpoint.tls.is_some() { "https" } else { "http" };
    let uri = format!("{scheme}://{}{}", job.endpoint.host, std::str::from_utf8(parts.path).ok()?);
    let mut request = Request::builder().method(if parts.body.is_some() { Method::POST } else { Method::GET }).uri(uri);
    if parts.body.is_some() {
        request = request.header("content-type", "application/ocsp-request");
    }
    if let Some((name, value)) = std::str::from_utf8(parts.header).ok()?.trim().split_once(": ") {
        request = request.header(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    Some((request.body(()).ok()?, parts.body.map(Bytes::copy_from_slice)))
}
