//! Requests in the path of a GET, in every form in which clients write them (rule O12).

use kakunin::responder::get_path::encode;

use crate::Seed;
use crate::requests::for_paths;

/// Every character percent-encoded.
fn percent_encoded(path: &str) -> String {
    path.bytes().map(|octet| format!("%{octet:02x}")).collect()
}

/// A line end after every 64 characters.
fn folded(path: &str) -> String {
    let characters: Vec<char> = path.chars().collect();
    characters.chunks(64).map(|line| line.iter().collect::<String>() + "%0D%0A").collect()
}

/// For the decoder.
pub(crate) fn of_every_form() -> Vec<Seed> {
    let [short, long] = for_paths();
    let (proper, long) = (encode(&short), encode(&long));
    // Octets whose base64 has every special character, and two of padding.
    let special = encode(&[0x30, 0xff, 0xfe, 0xfb, 0xef, 0xbe, 0xfb, 0xff, 0xff, 0x3e]);
    let raw = special.replace("%2F", "/").replace("%2B", "+").replace("%3D", "=");
    let forms = [
        ("proper", proper.clone()),
        ("proper-long", long.clone()),
        ("raw", raw.clone()),
        ("slashes-in-front", format!("//{proper}")),
        ("lower-case-escapes", special.to_lowercase().replace(['m', 'q'], "M")),
        ("base64url", raw.replace('/', "_").replace('+', "-")),
        ("space-for-plus", raw.replace('+', "%20")),
        ("no-padding", raw.trim_end_matches('=').to_owned()),
        ("folded", folded(&long)),
        ("all-percent-encoded", percent_encoded(&proper)),
        ("padding-inside", raw.replacen('/', "=", 1)),
        ("one-character-too-many", "MAAAM".to_owned()),
        ("escape-cut", "MAA%2".to_owned()),
        ("only-line-ends", "%0d%0a".repeat(20)),
    ];
    forms.into_iter().map(|(name, path)| (name.to_owned(), path.into_bytes())).collect()
}
