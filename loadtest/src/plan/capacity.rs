//! The figures of a plan.

use super::facts::*;
use super::figure::{Figure, Formula, Section, Unit, constant, term};
use super::options::Input;

/// Everything that is said.
pub(super) fn sections(input: &Input) -> Vec<Section> {
    let crls = crls(input);
    let crl = |id: &str| crls.iter().find(|figure| figure.id == id).cloned().unwrap_or_else(|| constant(0.0).figure("", "", Unit::Count));
    let (all, crl_size) = (crl("crl-octets-all"), crl("crl-octets"));
    vec![
        Section { title: "Memory", figures: memory(input, &all) },
        Section { title: "Signatures", figures: signatures(input) },
        Section { title: "CRLs", figures: crls },
        Section { title: "Registry", figures: registry(input) },
        Section { title: "Traffic", figures: traffic(input, &crl_size) },
    ]
}

/// Octets of a response in a pack of so many certificates, of which this part is revoked.
pub fn packed_response(algorithm: KeyAlgorithm, slot: f64, revoked: f64) -> f64 {
    packed(algorithm, slot, 1.0, revoked).value()
}

/// Octets of a response's body: a good status, a SHA-1 CertID, a delegated responder.
pub fn response_octets(algorithm: KeyAlgorithm) -> f64 {
    body(algorithm).value()
}

/// Octets of a partitioned CRL of so many entries.
pub fn crl_octets(algorithm: KeyAlgorithm, entries: f64) -> f64 {
    crl(algorithm, term("entries", Unit::Count, entries)).value()
}

fn packed(algorithm: KeyAlgorithm, slot: f64, signings: f64, revoked: f64) -> Formula {
    let places = 2f64.powf((slot / 2.0).max(1.0).log2().floor() + 1.0);
    term("serial", Unit::Octets, SERIAL)
        + term("mark", Unit::Octets, RECORD_MARK)
        + term("signature", Unit::Octets, algorithm.packed_signature())
        + (term("header", Unit::Octets, PACK_HEADER)
            + term("signing", Unit::Octets, PACK_SIGNING) * term("signings", Unit::Count, signings)
            + term("directory", Unit::Octets, places * DIRECTORY_PLACE))
            / term("certificates of a slot", Unit::Count, slot)
        + term("revocation", Unit::Octets, PACK_REVOCATION) * term("revoked", Unit::Part, revoked)
}

fn body(algorithm: KeyAlgorithm) -> Formula {
    term("rest of a response", Unit::Octets, RESPONSE_REST)
        + term("signature in DER", Unit::Octets, algorithm.sent_signature())
        + term("responder's certificate", Unit::Octets, algorithm.responder_certificate())
}

fn crl(algorithm: KeyAlgorithm, entries: Formula) -> Formula {
    term("rest of a CRL", Unit::Octets, CRL_REST)
        + term("signature in DER", Unit::Octets, algorithm.sent_signature())
        + term("entry", Unit::Octets, CRL_ENTRY) * entries
}

/// The same in the registry.
fn kept_crl(algorithm: KeyAlgorithm, entries: Formula) -> Formula {
    term("rest of a CRL", Unit::Octets, CRL_REST)
        + term("signature in DER", Unit::Octets, algorithm.sent_signature())
        + term("entry in the registry", Unit::Octets, CRL_ENTRY_KEPT) * entries
}

/// A full CRL, and those of the partitions.
fn all_crls(input: &Input, entries: &Figure, size: fn(KeyAlgorithm, Formula) -> Formula) -> Formula {
    let one = size(input.key_algorithm, entries.term());
    if input.crl_partitions == 0.0 {
        return one;
    }
    let partitions = || term("partitions", Unit::Count, input.crl_partitions);
    one + partitions() * size(input.key_algorithm, entries.term() / partitions())
}

fn crl_entries(input: &Input) -> Figure {
    (certificates(input) * term("revoked", Unit::Part, input.revoked)).figure("crl-entries", "entries on all CRLs", Unit::Count)
}

/// The mean number of certificates in a slot: the slots are doubled before it passes [`SLOT_CERTIFICATES`].
fn slot(input: &Input) -> f64 {
    let bits = (input.certificates / SLOT_CERTIFICATES).log2().ceil().clamp(0.0, 24.0);
    input.certificates / 2f64.powf(bits)
}

/// Turns of a slot in a refresh interval: at each, a part of its responses is signed, and the pack written.
fn turns(input: &Input) -> f64 {
    (TURNS / (input.certificates / slot(input))).clamp(1.0, SLOT_TURNS)
}

/// Octets of a response in a pack that has been refreshed at each of its turns.
fn packed_at(input: &Input) -> Formula {
    packed(input.key_algorithm, slot(input), turns(input).min(slot(input)), input.revoked)
}

fn certificates(input: &Input) -> Formula {
    term("certificates", Unit::Count, input.certificates)
}

fn hashes(input: &Input) -> Formula {
    term("hashes", Unit::Count, input.hashes)
}

fn day() -> Formula {
    term("a day", Unit::Seconds, 86_400.0)
}

fn memory(input: &Input, crls: &Figure) -> Vec<Figure> {
    let packed = packed_at(input).figure("pack-octets-per-response", "a response in its pack", Unit::Octets);
    let each =
        (packed.term() * term("overhead", Unit::Part, MEMORY_OVERHEAD)).figure("memory-per-response", "a response in memory", Unit::Octets);
    let responses = (certificates(input) * hashes(input) * each.term()).figure("memory-responses", "all responses", Unit::Octets);
    let node = (term("process", Unit::Octets, PROCESS) + responses.term() + crls.term()).figure("memory-per-node", "a node", Unit::Octets);
    vec![packed, each, responses, node]
}

fn signatures(input: &Input) -> Vec<Figure> {
    let refresh = || term("refresh", Unit::Seconds, input.refresh);
    let crls = term("CRLs", Unit::Count, input.crl_partitions + 1.0);
    let issued =
        (certificates(input) / term("lifetime", Unit::Seconds, input.lifetime)).figure("issued", "certificates issued", Unit::PerSecond);
    let refreshed = (certificates(input) * hashes(input) / refresh()).figure("refresh-rate", "refresh", Unit::PerSecond);
    let new = (issued.term() * hashes(input) * (constant(1.0) + term("revoked", Unit::Part, input.revoked))).figure(
        "change-rate",
        "new certificates and revocations",
        Unit::PerSecond,
    );
    let steady = (refreshed.term() + new.term() + crls.clone() / term("CRL refresh", Unit::Seconds, input.crl_refresh)).figure(
        "signatures-steady",
        "steady",
        Unit::PerSecond,
    );
    let capacity = (term("tokens", Unit::Count, input.tokens) * term("token rate", Unit::PerSecond, input.token_rate)).figure(
        "signatures-possible",
        "possible",
        Unit::PerSecond,
    );
    let busy = (steady.term() / capacity.term()).figure("token-load", "part of the tokens' time in use", Unit::Part);
    let all = (certificates(input) * hashes(input) / capacity.term()).figure("resign-all", "sign everything anew", Unit::Seconds);
    let mass = ((term("revoked at once", Unit::Count, input.mass_revocation) * hashes(input) + crls) / capacity.term()).figure(
        "mass-revocation",
        "sign after a mass revocation",
        Unit::Seconds,
    );
    let worst = worst_minute(input, &refreshed, &new);
    let pause =
        (term("validity", Unit::Seconds, input.validity) - refresh()).figure("longest-outage", "tokens may be away for", Unit::Seconds);
    vec![issued, refreshed, new, steady, worst, capacity, busy, all, mass, pause]
}

/// Slots have turns, so a minute has one turn more than its share at worst; arrivals of a minute scatter by their root; and all CRLs may be due.
fn worst_minute(input: &Input, refreshed: &Figure, new: &Figure) -> Figure {
    let minute = || term("a minute", Unit::Seconds, 60.0);
    let turn =
        term("certificates of a slot", Unit::Count, slot(input)) / term("turns of a slot", Unit::Count, turns(input)) * hashes(input);
    let arrivals = new.term() * minute();
    let crls = term("CRLs", Unit::Count, input.crl_partitions + 1.0);
    // Each of them wants a signature by each hash, so that these come together.
    let scatter = constant(3.0) * hashes(input) * (arrivals.clone() / hashes(input)).root();
    let sum = refreshed.term() * minute() + turn + arrivals + scatter + crls;
    (sum / minute()).figure("signatures-worst-minute", "worst minute", Unit::PerSecond)
}

/// So many entries that a partition of a random part of them has at most this many, almost always.
fn fullest(entries: Formula) -> Formula {
    entries.clone() + constant(4.0) * entries.root()
}

fn crls(input: &Input) -> Vec<Figure> {
    let algorithm = input.key_algorithm;
    let entries = crl_entries(input);
    let partitions = || term("partitions", Unit::Count, input.crl_partitions.max(1.0));
    let share = if input.crl_partitions > 0.0 { fullest(entries.term() / partitions()) } else { entries.term() };
    let fullest_entries = share.figure("crl-entries-each", "entries on the fullest one", Unit::Count);
    let size = crl(algorithm, fullest_entries.term()).figure("crl-octets", "the greatest CRL for clients", Unit::Octets);
    let one = crl(algorithm, entries.term()).figure("crl-octets-full", "one CRL of all", Unit::Octets);
    let all = all_crls(input, &entries, crl).figure("crl-octets-all", "all CRLs", Unit::Octets);
    let needed =
        partitions_for(algorithm, entries.term()).figure("crl-partitions-needed", "partitions that stay below 10 MB (C8)", Unit::Count);
    let after = input.mass_revocation.max(entries.value);
    let incident = partitions_for(algorithm, term("revoked at once", Unit::Count, after)).figure(
        "crl-partitions-incident",
        "the same after the mass revocation",
        Unit::Count,
    );
    vec![entries, fullest_entries, size, one, all, needed, incident]
}

/// Partitions so that the fullest stays below [`CRL_LIMIT`].
fn partitions_for(algorithm: KeyAlgorithm, entries: Formula) -> Formula {
    let room = term("room of a CRL", Unit::Octets, CRL_LIMIT - crl(algorithm, constant(0.0)).value());
    let most = room.value() / CRL_ENTRY;
    // Its mean is less than what fits by four times its root: m + 4 √m = most.
    let mean = (most + 4.0).sqrt() - 2.0;
    let mean = term("entries that leave room for scatter", Unit::Count, mean * mean);
    if entries.value() <= most { entries.clone() / term("entries that fit", Unit::Count, most) } else { entries / mean }.rounded_up()
}

fn registry(input: &Input) -> Vec<Figure> {
    let packed = || term("a response in its pack", Unit::Octets, packed_at(input).value());
    let pages = || term("pages", Unit::Part, PAGE_OVERHEAD);
    let writes = || term("log and file", Unit::Count, WRITES);
    let packs = (certificates(input) * hashes(input) * packed() * pages()).figure("registry-packs", "packs", Unit::Octets);
    let rows = (certificates(input)
        * (term("row", Unit::Octets, CERTIFICATE_ROW)
            + term("revoked row", Unit::Octets, REVOKED_ROW) * term("revoked", Unit::Part, input.revoked)))
    .figure("registry-rows", "certificates", Unit::Octets);
    let newest = all_crls(input, &crl_entries(input), kept_crl).figure("registry-crls-newest", "the newest CRLs", Unit::Octets);
    let kept = (newest.term() * (constant(1.0) + term("superseded ones kept", Unit::Count, CRLS_KEPT)) * pages()).figure(
        "registry-crls",
        "CRLs",
        Unit::Octets,
    );
    let file = (packs.term() + rows.term() + kept.term()).figure("registry-octets", "the whole registry", Unit::Octets);
    let refreshes = term("turns of a slot", Unit::Count, turns(input)) * day() / term("refresh", Unit::Seconds, input.refresh);
    let refreshed = (packs.term() * writes() * refreshes).figure("registry-writes-refresh", "written by the refresh", Unit::OctetsPerDay);
    // A pack is written whole for one new response in it.
    let changes = term("issued and revoked", Unit::PerDay, input.certificates / input.lifetime * 86_400.0 * (1.0 + input.revoked));
    let changed = (changes * hashes(input) * term("certificates of a slot", Unit::Count, slot(input)) * packed() * writes()).figure(
        "registry-writes-changes",
        "written for changes, at most",
        Unit::OctetsPerDay,
    );
    let crl_writes = (crl_octets_a_day(input) * writes()).figure("registry-writes-crls", "written for CRLs", Unit::OctetsPerDay);
    let all = (refreshed.term() + changed.term() + crl_writes.term()).figure("registry-writes", "written in all", Unit::OctetsPerDay);
    vec![packs, rows, newest, kept, file, refreshed, changed, crl_writes, all]
}

/// Octets that the registry keeps of the CRLs that are issued in a day, by schedule and because of revocations.
fn crl_octets_a_day(input: &Input) -> Formula {
    let entries = input.certificates * input.revoked;
    let scheduled = 86_400.0 / input.crl_refresh;
    let revocations = input.certificates / input.lifetime * 86_400.0 * input.revoked;
    // A CRL with few entries is issued after each revocation, a great one no more often than revocations are gathered; each partition gathers its own.
    let brought_forward =
        |entries: f64, crls: f64| if entries < AT_ONCE_BELOW { revocations } else { revocations.min(crls * 86_400.0 / COALESCE) };
    let issues = |name: &str, times: f64| term(name, Unit::PerDay, times);
    let size = |entries: f64| kept_crl(input.key_algorithm, constant(0.0)).value() + CRL_ENTRY_KEPT * entries;
    let full =
        issues("full CRLs", scheduled + brought_forward(entries, 1.0)) * term("a full CRL in the registry", Unit::Octets, size(entries));
    if input.crl_partitions == 0.0 {
        return full;
    }
    let each = entries / input.crl_partitions;
    let times = input.crl_partitions * scheduled + brought_forward(each, input.crl_partitions);
    full + issues("partitions' CRLs", times) * term("a partition's CRL in the registry", Unit::Octets, size(each))
}

fn traffic(input: &Input, crl: &Figure) -> Vec<Figure> {
    let missed = || constant(1.0) - term("CDN hit rate", Unit::Part, input.cdn_hit_rate);
    let queries = || term("queries", Unit::PerSecond, input.queries);
    let origin = (queries() * missed()).figure("origin-requests", "requests at the origin", Unit::PerSecond);
    let body = (body(input.key_algorithm)
        + term("more for SHA-256", Unit::Octets, SHA256_MORE) * term("part of SHA-256", Unit::Part, input.sha256))
    .figure("response-octets", "body of a response", Unit::Octets);
    let not_modified = || term("part answered 304", Unit::Part, input.not_modified);
    let answer = ((constant(1.0) - not_modified()) * (term("head", Unit::Octets, RESPONSE_HEAD) + body.term())
        + not_modified() * term("head of a 304", Unit::Octets, NOT_MODIFIED_HEAD))
    .figure("answer-octets", "an answer with its head", Unit::Octets);
    let pulls = || term("CRL downloads", Unit::PerSecond, input.crl_pulls) * crl.term();
    let edge = (queries() * answer.term() + pulls()).figure("bandwidth-edge", "bandwidth at the edge", Unit::OctetsPerSecond);
    let at_origin =
        (origin.term() * answer.term() + pulls() * missed()).figure("bandwidth-origin", "bandwidth at the origin", Unit::OctetsPerSecond);
    let cpu = (term("CPU a request", Unit::Micros, input.cpu_per_request)
        + term("CPU a connection", Unit::Micros, input.cpu_per_connection)
            * term("part on new connections", Unit::Part, input.new_connections))
    .figure("cpu-per-request", "CPU of a request", Unit::Micros);
    let all_at_origin = origin.term() + term("CRL downloads", Unit::PerSecond, input.crl_pulls) * missed();
    let cores = (all_at_origin * cpu.term() / (constant(1_000_000.0) * term("utilisation", Unit::Part, input.utilisation))).figure(
        "cores",
        "cores of all nodes",
        Unit::Cores,
    );
    let standing = term("nodes but one", Unit::Count, (input.nodes - 1.0).max(1.0));
    let each = (cores.term() / standing).rounded_up().figure("cores-per-node", "cores of a node, one node down", Unit::Cores);
    vec![origin, body, answer, edge, at_origin, cpu, cores, each]
}
