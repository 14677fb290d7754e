//! Which path means what. Text in, route out; nothing is decoded here.

/// What a GET or HEAD asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GetRoute<'a> {
    /// `/{base64}`, `/ocsp/{base64}`, `/ocsp/{issuer}/{base64}`.
    Ocsp {
        /// Only certificates of the issuer of this name.
        issuer: Option<&'a str>,
        /// The request, not decoded yet.
        encoded: &'a str,
    },
    /// `/crl/…` or `/ca/…`: the path itself.
    Document(&'a str),
    /// A base without a request: for people who look in with a browser.
    Greeting,
    /// Nothing.
    Unknown,
}

/// What a POST asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostRoute<'a> {
    /// `/`, `/ocsp`, `/ocsp/{issuer}`.
    Ocsp(Option<&'a str>),
    /// Something that is there for GET.
    GetOnly,
    /// Nothing.
    Unknown,
}

/// The base64 of an OCSP request begins with 'M': its first octet is the tag of a SEQUENCE.
fn begins_request(path: &str) -> bool {
    path.starts_with(['M', '%'])
}

impl<'a> GetRoute<'a> {
    /// Routes a path. Raw slashes may be part of a request, so `is_issuer` tells the name of an issuer from the beginning of one.
    pub(super) fn of(path: &'a str, is_issuer: impl Fn(&str) -> bool) -> GetRoute<'a> {
        let rest = path.trim_start_matches('/');
        if begins_request(rest) {
            return GetRoute::Ocsp { issuer: None, encoded: rest };
        }
        if rest.starts_with("crl/") || rest.starts_with("ca/") {
            // With one slash, however many there were.
            return GetRoute::Document(&path[(path.len() - rest.len()).saturating_sub(1)..]);
        }
        match rest.strip_prefix("ocsp").map(|rest| (rest, rest.trim_start_matches('/'))) {
            Some((_, "")) => GetRoute::Greeting,
            Some((slash, rest)) if slash.starts_with('/') => match rest.split_once('/') {
                Some((issuer, encoded)) if is_issuer(issuer) || !begins_request(rest) => {
                    if encoded.is_empty() {
                        GetRoute::Greeting
                    } else {
                        GetRoute::Ocsp { issuer: Some(issuer), encoded }
                    }
                }
                None if is_issuer(rest) => GetRoute::Greeting,
                _ if begins_request(rest) => GetRoute::Ocsp { issuer: None, encoded: rest },
                _ => GetRoute::Unknown,
            },
            _ if rest.is_empty() => GetRoute::Greeting,
            _ => GetRoute::Unknown,
        }
    }
}

impl<'a> PostRoute<'a> {
    /// Routes a path.
    pub(super) fn of(path: &'a str) -> PostRoute<'a> {
        let path = path.trim_matches('/');
        match path.split_once('/') {
            None if path.is_empty() || path == "ocsp" => PostRoute::Ocsp(None),
            Some(("ocsp", issuer)) if !issuer.contains('/') => PostRoute::Ocsp(Some(issuer)),
            Some(("crl" | "ca", _)) => PostRoute::GetOnly,
            _ => PostRoute::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> GetRoute<'_> {
        GetRoute::of(path, |name| ["test", "MyCA"].contains(&name))
    }

    fn ocsp<'a>(issuer: Option<&'a str>, encoded: &'a str) -> GetRoute<'a> {
        GetRoute::Ocsp { issuer, encoded }
    }

    #[test]
    fn o12_requests_are_found_under_every_base() {
        assert_eq!(get("/MFEw"), ocsp(None, "MFEw"));
        assert_eq!(get("//MFEw"), ocsp(None, "MFEw"));
        assert_eq!(get("/%4dFEw"), ocsp(None, "%4dFEw"));
        assert_eq!(get("/MF/w//a"), ocsp(None, "MF/w//a"));
        assert_eq!(get("/ocsp/MF/w//a"), ocsp(None, "MF/w//a"));
        assert_eq!(get("/ocsp//MF/w"), ocsp(None, "MF/w"));
        assert_eq!(get("/ocsp/test/MF/w"), ocsp(Some("test"), "MF/w"));
        assert_eq!(get("/ocsp/test//MF/w"), ocsp(Some("test"), "/MF/w"));
        assert_eq!(get("/ocsp/MyCA/MF/w"), ocsp(Some("MyCA"), "MF/w"));
        assert_eq!(get("/ocsp/other/MF/w"), ocsp(Some("other"), "MF/w"));
    }

    #[test]
    fn everything_else_is_a_document_a_greeting_or_nothing() {
        assert_eq!(get("/crl/test.crl"), GetRoute::Document("/crl/test.crl"));
        assert_eq!(get("/ca/test.cer"), GetRoute::Document("/ca/test.cer"));
        assert_eq!(get("//crl/test.crl"), GetRoute::Document("/crl/test.crl"));
        for path in ["/", "//", "/ocsp", "/ocsp/", "/ocsp/test", "/ocsp/test/", "/ocsp/MyCA"] {
            assert_eq!(get(path), GetRoute::Greeting, "{path}");
        }
        for path in ["/favicon.ico", "/ocspMFEw", "/ocsp/other", "*", "/crl"] {
            assert_eq!(get(path), GetRoute::Unknown, "{path}");
        }
    }

    #[test]
    fn o12_posts_go_to_a_base() {
        for path in ["/", "//", "/ocsp", "/ocsp/"] {
            assert_eq!(PostRoute::of(path), PostRoute::Ocsp(None), "{path}");
        }
        assert_eq!(PostRoute::of("/ocsp/test"), PostRoute::Ocsp(Some("test")));
        assert_eq!(PostRoute::of("/ocsp/test/"), PostRoute::Ocsp(Some("test")));
        assert_eq!(PostRoute::of("/crl/test.crl"), PostRoute::GetOnly);
        assert_eq!(PostRoute::of("/elsewhere"), PostRoute::Unknown);
        assert_eq!(PostRoute::of("/ocsp/test/MFEw"), PostRoute::Unknown);
    }
}
