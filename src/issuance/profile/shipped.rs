//! The profiles that are part of the program: the files of `config/profiles/`.

/// Name and file, sorted by name.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("br-7.1.2.1-root", include_str!("../../../config/profiles/br-7.1.2.1-root.toml")),
    ("br-7.1.2.6-tls-sub-ca", include_str!("../../../config/profiles/br-7.1.2.6-tls-sub-ca.toml")),
    ("br-7.1.2.7-tls-server", include_str!("../../../config/profiles/br-7.1.2.7-tls-server.toml")),
    ("br-7.1.2.7-tls-server-short-lived", include_str!("../../../config/profiles/br-7.1.2.7-tls-server-short-lived.toml")),
    ("br-7.1.2.8-ocsp-responder", include_str!("../../../config/profiles/br-7.1.2.8-ocsp-responder.toml")),
    ("jpki-7.1-2-cross", include_str!("../../../config/profiles/jpki-7.1-2-cross.toml")),
    ("jpki-7.1-3-self-signed", include_str!("../../../config/profiles/jpki-7.1-3-self-signed.toml")),
    ("jpki-7.1-4-new-with-old", include_str!("../../../config/profiles/jpki-7.1-4-new-with-old.toml")),
    ("jpki-7.1-4-old-with-new", include_str!("../../../config/profiles/jpki-7.1-4-old-with-new.toml")),
    ("jpki-ocsp-responder", include_str!("../../../config/profiles/jpki-ocsp-responder.toml")),
    ("jpki-ssl-server", include_str!("../../../config/profiles/jpki-ssl-server.toml")),
    ("jpki-validation-server", include_str!("../../../config/profiles/jpki-validation-server.toml")),
    ("mphpt-7.1.1-self-signed", include_str!("../../../config/profiles/mphpt-7.1.1-self-signed.toml")),
    ("mphpt-7.1.2-server", include_str!("../../../config/profiles/mphpt-7.1.2-server.toml")),
    ("mphpt-7.1.3-code-signing", include_str!("../../../config/profiles/mphpt-7.1.3-code-signing.toml")),
    ("secom-7.1.2-1-root1-tsa", include_str!("../../../config/profiles/secom-7.1.2-1-root1-tsa.toml")),
    ("secom-7.1.2-1-root1-tsa-sha1", include_str!("../../../config/profiles/secom-7.1.2-1-root1-tsa-sha1.toml")),
    ("secom-7.1.2-2-root2-tsa", include_str!("../../../config/profiles/secom-7.1.2-2-root2-tsa.toml")),
    ("secom-7.1.2-3-root2-ocsp", include_str!("../../../config/profiles/secom-7.1.2-3-root2-ocsp.toml")),
    ("secom-7.1.2-4-root3-tsa", include_str!("../../../config/profiles/secom-7.1.2-4-root3-tsa.toml")),
    ("secom-7.1.2-5-root3-ocsp", include_str!("../../../config/profiles/secom-7.1.2-5-root3-ocsp.toml")),
    ("secom-7.1.2-6-root3-sub-ca", include_str!("../../../config/profiles/secom-7.1.2-6-root3-sub-ca.toml")),
];

/// The file's text.
pub(super) fn text(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_part_of_the_program_and_a_profile() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/profiles");
        let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<String> = files.filter(|path| path.extension().is_some_and(|e| e == "toml")).map(|path| stem(&path)).collect();
        files.sort();
        assert_eq!(files, NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for name in files {
            super::super::Profile::shipped(&name).unwrap();
        }
    }
}
