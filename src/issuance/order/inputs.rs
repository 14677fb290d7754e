//! The inputs of a batch: certification requests, or applicants. Read twice: once whole, to hold them against the hash that the order and its approvals name,
//! and again in chunks, each held against what was read the first time. Never more than a chunk of them is in memory.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::InputsConfig;
use crate::pki::Fingerprint;

/// Inputs in one chunk.
pub const CHUNK: usize = 500;
/// The most inputs of an order.
pub const MAX_ITEMS: u64 = 100_000_000;
/// The most files of a directory: their names are held in memory.
const MAX_FILES: usize = 1_000_000;
/// The longest name of a file, in octets: room is left for what a certificate's file is called while it is written, `NAME.pem.pending`.
const MAX_NAME: usize = 255 - ".pem.pending".len();
/// The longest request, in octets.
const MAX_ITEM_BYTES: u64 = 64 << 10;

/// Inputs that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The operating system refused something.
    #[error("inputs {}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A bound.
    #[error("inputs {place}: found {found}, wanted {wanted}")]
    Bound {
        /// Where.
        place: String,
        /// What is there.
        found: String,
        /// What may be there.
        wanted: String,
    },
    /// Not what was approved.
    #[error("inputs {}: found the hash {found}, wanted {wanted}, as the order says: it is not what was approved", path.display())]
    OtherInputs {
        /// The file or directory.
        path: PathBuf,
        /// Its hash.
        found: Fingerprint,
        /// That in the order.
        wanted: Fingerprint,
    },
    /// Changed while it was read.
    #[error("inputs {place}: changed while the order was run")]
    Changed {
        /// Where.
        place: String,
    },
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number in the order, from 0.
    pub number: u64,
    /// Where it stands: a file's name, or `line 7`.
    pub place: String,
    /// What it says.
    pub content: Vec<u8>,
}

/// The inputs of one order, held against its hash.
#[derive(Debug)]
pub struct Inputs {
    source: Source,
    count: u64,
    /// The hash of each chunk.
    chunks: Vec<Fingerprint>,
    next: usize,
}

#[derive(Debug)]
enum Source {
    Directory(PathBuf, Vec<String>),
    Lines(PathBuf, BufReader<File>),
}

/// The hash that an order names its inputs by: of a file its SHA-256, of a directory that of all names and contents.
pub fn fingerprint(path: &Path) -> Result<Fingerprint, InputError> {
    let inputs = if path.is_dir() { (Some(path.to_owned()), None) } else { (None, Some(path.to_owned())) };
    let (directory, lines) = inputs;
    survey(&InputsConfig { directory, lines, sha256: Fingerprint([0; 32]) }).map(|(_, whole)| whole)
}

impl Inputs {
    /// Reads all of them once, and fails where they are not what the order names.
    pub fn open(config: &InputsConfig) -> Result<Inputs, InputError> {
        let (inputs, found) = survey(config)?;
        if found == config.sha256 {
            return Ok(inputs);
        }
        let path = config.directory.clone().or_else(|| config.lines.clone()).unwrap_or_default();
        Err(InputError::OtherInputs { path, found, wanted: config.sha256 })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The names of the files in the order of the inputs, as they were read and held against the hash; `None` where the inputs are lines.
    pub fn names(&self) -> Option<&[String]> {
        match &self.source {
            Source::Directory(_, names) => Some(names),
            Source::Lines(..) => None,
        }
    }

    /// The next chunk; `None` after the last.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Item>>, InputError> {
        let Some(expected) = self.chunks.get(self.next) else { return Ok(None) };
        let first = self.next * CHUNK;
        let items = self.source.read(first)?;
        if chunk_fingerprint(&items) != *expected {
            let place = items.first().map_or_else(|| format!("input {first}"), |item| item.place.clone());
            return Err(InputError::Changed { place });
        }
        self.next += 1;
        Ok(Some(items))
    }
}

/// Reads everything once.
fn survey(config: &InputsConfig) -> Result<(Inputs, Fingerprint), InputError> {
    let mut source = Source::open(config)?;
    let mut whole = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let (mut chunks, mut count) = (Vec::new(), 0u64);
    loop {
        let items = source.read(count as usize)?;
        if items.is_empty() {
            break;
        }
        items.iter().for_each(|item| source.digest(item, &mut whole));
        chunks.push(chunk_fingerprint(&items));
        count += items.len() as u64;
        if count > MAX_ITEMS {
            return Err(bound(source.path().display(), format!("more than {MAX_ITEMS} inputs"), format!("at most {MAX_ITEMS}")));
        }
    }
    let found = Fingerprint::from_octets(whole.finish().as_ref()).unwrap_or(Fingerprint([0; 32]));
    let again = match source {
        Source::Directory(..) => source,
        Source::Lines(..) => Source::open(config)?,
    };
    Ok((Inputs { source: again, count, chunks, next: 0 }, found))
}

fn chunk_fingerprint(items: &[Item]) -> Fingerprint {
    let lengths: Vec<[u8; 8]> = items.iter().map(|item| (item.content.len() as u64).to_be_bytes()).collect();
    let parts = items.iter().zip(&lengths).flat_map(|(item, length)| [item.place.as_bytes(), length, item.content.as_slice()]);
    Fingerprint::of_parts(&parts.collect::<Vec<_>>())
}

fn bound(place: impl std::fmt::Display, found: String, wanted: String) -> InputError {
    InputError::Bound { place: place.to_string(), found, wanted }
}

impl Source {
    fn open(config: &InputsConfig) -> Result<Source, InputError> {
        if let Some(directory) = &config.directory {
            return Ok(Source::Directory(directory.clone(), names(directory)?));
        }
        let path = config.lines.clone().unwrap_or_default();
        let file = open(&path)?;
        Ok(Source::Lines(path, BufReader::with_capacity(256 << 10, file)))
    }

    fn path(&self) -> &Path {
        match self {
            Source::Directory(path, _) | Source::Lines(path, _) => path,
        }
    }

    /// Up to a chunk of them; the first is number `first`.
    fn read(&mut self, first: usize) -> Result<Vec<Item>, InputError> {
        match self {
            Source::Directory(directory, names) => {
                let names = names.iter().enumerate().skip(first).take(CHUNK);
                names.map(|(number, name)| read_file(directory, number as u64, name)).collect()
            }
            Source::Lines(path, reader) => {
                let mut items = Vec::with_capacity(CHUNK);
                while items.len() < CHUNK {
                    match read_line(path, reader, (first + items.len()) as u64)? {
                        Some(item) => items.push(item),
                        None => break,
                    }
                }
                Ok(items)
            }
        }
    }

    /// What the hash of the whole is made of: a file's octets, as `sha256sum` has it; of a directory names and hashes.
    fn digest(&self, item: &Item, whole: &mut aws_lc_rs::digest::Context) {
        match self {
            Source::Directory(..) => {
                let line = format!("{}  {}\n", Fingerprint::of(&item.content), item.place);
                whole.update(line.as_bytes());
            }
            Source::Lines(..) => whole.update(&item.content),
        }
    }
}

/// The names of the files in a directory, sorted.
fn names(directory: &Path) -> Result<Vec<String>, InputError> {
    let io = |error| InputError::Io { path: directory.to_owned(), error };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.into_string().map_err(|name| {
            bound(directory.join(&name).display(), "a name that is not UTF-8".to_owned(), "UTF-8 without control characters".to_owned())
        })?;
        if name.chars().any(char::is_control) {
            return Err(bound(directory.display(), format!("the name {name:?}"), "names without control characters".to_owned()));
        }
        if name.len() > MAX_NAME {
            let found = format!("a name of {} octets", name.len());
            return Err(bound(
                directory.join(&name).display(),
                found,
                format!("at most {MAX_NAME}: the certificate's file is called after it"),
            ));
        }
        names.push(name);
        if names.len() > MAX_FILES {
            let found = format!("more than {MAX_FILES} files");
            return Err(bound(directory.display(), found, format!("at most {MAX_FILES}; JSON lines have no such bound")));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn read_file(directory: &Path, number: u64, name: &str) -> Result<Item, InputError> {
    let path = directory.join(name);
    let mut content = Vec::new();
    let read = open(&path)?.take(MAX_ITEM_BYTES + 1).read_to_end(&mut content);
    read.map_err(|error| InputError::Io { path: path.clone(), error })?;
    if content.len() as u64 > MAX_ITEM_BYTES {
        return Err(bound(path.display(), format!("more than {MAX_ITEM_BYTES} octets"), format!("at most {MAX_ITEM_BYTES}")));
    }
    Ok(Item { number, place: name.to_owned(), content })
}

/// Opens a file, and nothing else: whoever opens a pipe waits for somebody at its other end.
fn open(path: &Path) -> Result<File, InputError> {
    let io = |error| InputError::Io { path: path.to_owned(), error };
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(bound(path.display(), "something else".to_owned(), "a file".to_owned()));
    }
    File::open(path).map_err(io)
}

fn read_line(path: &Path, reader: &mut BufReader<File>, number: u64) -> Result<Option<Item>, InputError> {
    let mut content = Vec::new();
    let read = reader.by_ref().take(MAX_ITEM_BYTES + 1).read_until(b'\n', &mut content);
    let read = read.map_err(|error| InputError::Io { path: path.to_owned(), error })?;
    let place = format!("line {}", number + 1);
    match read as u64 {
        0 => Ok(None),
        n if n > MAX_ITEM_BYTES => Err(bound(
            format!("{} {place}", path.display()),
            format!("more than {MAX_ITEM_BYTES} octets"),
            format!("at most {MAX_ITEM_BYTES}"),
        )),
        _ => Ok(Some(Item { number, place, content })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> InputsConfig {
        InputsConfig { directory: None, lines: Some(path.to_owned()), sha256: fingerprint(path).unwrap() }
    }

    #[test]
    fn a_file_of_lines_is_named_as_sha256sum_does_and_read_in_chunks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("in.jsonl");
        let text: String = (0..1201).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        fs::write(&path, &text).unwrap();
        let config = lines(&path);
        assert_eq!(config.sha256, Fingerprint::of(text.as_bytes()));
        let mut inputs = Inputs::open(&config).unwrap();
        assert_eq!(inputs.count(), 1201);
        let mut all = Vec::new();
        while let Some(chunk) = inputs.next_chunk().unwrap() {
            assert!(chunk.len() <= CHUNK);
            all.extend(chunk);
        }
        assert!(all.iter().enumerate().all(|(n, item)| item.number == n as u64 && item.place == format!("line {}", n + 1)));
        assert_eq!(all.iter().map(|item| String::from_utf8_lossy(&item.content)).collect::<String>(), text);
    }

    #[test]
    fn s4_8_inputs_that_are_not_what_was_approved_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.csr", "a.csr"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let config =
            InputsConfig { directory: Some(directory.path().to_owned()), lines: None, sha256: fingerprint(directory.path()).unwrap() };
        let mut inputs = Inputs::open(&config).unwrap();
        let names: Vec<_> = inputs.next_chunk().unwrap().unwrap().into_iter().map(|item| item.place).collect();
        assert_eq!(names, ["a.csr", "b.csr"]);
        fs::write(directory.path().join("0.csr"), "came later").unwrap();
        assert_eq!(inputs.names(), Some(&["a.csr".to_owned(), "b.csr".to_owned()][..]), "what is handed out is named as what was approved");
        fs::remove_file(directory.path().join("0.csr")).unwrap();
        for change in [|d: &Path| fs::write(d.join("a.csr"), "other"), |d: &Path| fs::rename(d.join("b.csr"), d.join("c.csr"))] {
            change(directory.path()).unwrap();
            assert!(matches!(Inputs::open(&config), Err(InputError::OtherInputs { .. })));
        }
    }

    #[test]
    fn s4_8_inputs_that_change_after_they_were_held_against_the_order_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("in.jsonl");
        fs::write(&path, "one\ntwo\n").unwrap();
        let mut inputs = Inputs::open(&lines(&path)).unwrap();
        fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| io::Write::write_all(&mut file, b"six\n")).unwrap();
        assert!(matches!(inputs.next_chunk(), Err(InputError::Changed { .. })));
    }

    #[test]
    fn a_line_that_is_too_long_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("in.jsonl");
        fs::write(&path, format!("short\n{}", "x".repeat(70_000))).unwrap();
        let said = fingerprint(&path).unwrap_err().to_string();
        assert!(said.contains("line 2: found more than 65536 octets"), "{said}");
    }
}
