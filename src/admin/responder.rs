//! The responder in numbers. Sums are made when somebody asks; the responder itself only counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::Part;
use crate::pki::Timestamp;
use crate::registry::CrlScope;
use crate::responder::documents::DocumentKind;
use crate::responder::status_map::next_update;
use crate::responder::{Content, Event, Readiness, Statistics};

/// The responder as a [`Part`].
#[derive(Clone, Debug)]
pub struct ResponderPart {
    content: Arc<Content>,
    statistics: Statistics,
}

type Result<T> = prometheus::Result<T>;

impl ResponderPart {
    /// The responder that serves `content` and counts in `statistics`.
    pub fn new(content: Arc<Content>, statistics: Statistics) -> ResponderPart {
        ResponderPart { content, statistics }
    }

    fn events(&self, registry: &Registry) -> Result<()> {
        let mut families = BTreeMap::new();
        for event in Event::ALL {
            let (family, kind) = event.metric();
            if !families.contains_key(family) {
                let counters = IntCounterVec::new(Opts::new(format!("kakunin_{family}_total"), help(family)), &["kind"])?;
                registry.register(Box::new(counters.clone()))?;
                families.insert(family, counters);
            }
            families[family].with_label_values(&[kind]).inc_by(self.statistics.total(*event));
        }
        gauge(registry, "connections_open", "Connections open now.", self.statistics.open_connections())
    }

    fn feed(&self, registry: &Registry, now: Timestamp) -> Result<()> {
        let feed = &self.content.feed;
        counter(registry, "registry_errors_total", "Reads of the registry that failed.", feed.registry_errors())?;
        counter(registry, "packs_loaded_total", "Response packs taken into use.", feed.packs_loaded())?;
        counter(registry, "packs_refused_total", "Response packs refused because they failed their check.", feed.packs_refused())?;
        counter(registry, "documents_refused_total", "CRLs and issuer certificates refused.", feed.documents_refused())?;
        gauge(registry, "feed_sequence", "The newest change of the registry that is in effect here.", feed.sequence())?;
        if let Some(at) = feed.caught_up_at() {
            let lag = now.since(at).as_secs();
            gauge(registry, "feed_lag_seconds", "Time since everything in the registry was known to be in effect here.", lag)?;
        }
        Ok(())
    }

    fn issuers(&self, registry: &Registry) -> Result<()> {
        let published = gauges(registry, "issuer_published", "Whether anything was ever published for the issuer.", &["issuer"])?;
        for issuer in self.content.issuers().iter() {
            published.with_label_values(&[&issuer.name]).set(self.content.is_published(issuer.id).into());
        }
        Ok(())
    }

    fn packs(&self, registry: &Registry) -> Result<()> {
        let labels = &["issuer", "hash"];
        let certificates = gauges(registry, "certificates", "Certificates with a pre-signed response in memory.", labels)?;
        let revoked = gauges(registry, "certificates_revoked", "Those of them that are revoked.", labels)?;
        let packs = gauges(registry, "packs", "Response packs in memory.", labels)?;
        let bytes = gauges(registry, "pack_bytes", "Octets of the response packs in memory.", labels)?;
        let oldest = gauges(registry, "packs_next_update_seconds", "The earliest nextUpdate in any pack, as a Unix time.", labels)?;
        for status in self.content.status.directory().statuses() {
            let hash = format!("{:?}", status.hashes().algorithm).to_lowercase();
            let labels = &[status.name(), &hash];
            let mut earliest = Timestamp::MAX;
            for pack in status.table().packs().flatten() {
                certificates.with_label_values(labels).add(pack.len() as i64);
                revoked.with_label_values(labels).add(pack.revoked() as i64);
                packs.with_label_values(labels).inc();
                bytes.with_label_values(labels).add(pack.blob_bytes() as i64);
                earliest = earliest.min(next_update(&pack));
            }
            if earliest < Timestamp::MAX {
                oldest.with_label_values(labels).set(earliest.unix() as i64);
            }
        }
        Ok(())
    }

    fn crls(&self, registry: &Registry) -> Result<()> {
        let labels = &["issuer", "scope"];
        let numbers = gauges(registry, "crl_number", "cRLNumber of the CRL that is served.", labels)?;
        let expiries = gauges(registry, "crl_next_update_seconds", "nextUpdate of the CRL that is served, as a Unix time.", labels)?;
        for (_, document) in self.content.documents.all() {
            let DocumentKind::Crl { issuer, scope, number, next_update } = document.kind else { continue };
            let Some(issuer) = self.content.issuer(issuer) else { continue };
            let scope = match scope {
                CrlScope::Partition(n) => n.to_string(),
                other => other.to_string(),
            };
            numbers.with_label_values(&[&issuer.name, &scope]).set(number as i64);
            expiries.with_label_values(&[&issuer.name, &scope]).set(next_update.unix() as i64);
        }
        Ok(())
    }
}

impl Part for ResponderPart {
    fn readiness(&self, now: Timestamp) -> Readiness {
        Readiness::of(&self.content, now)
    }

    fn metrics(&self, registry: &Registry, now: Timestamp) -> Result<()> {
        let readiness = Readiness::of(&self.content, now);
        gauge(
            registry,
            "responder_ready",
            "Whether every issuer that anything was published for can be answered for.",
            readiness.is_ready().into(),
        )?;
        self.issuers(registry)?;
        self.events(registry)?;
        self.feed(registry, now)?;
        self.packs(registry)?;
        self.crls(registry)
    }
}

fn help(family: &str) -> &'static str {
    match family {
        "ocsp_answers" => "OCSP answers by what they say.",
        "ocsp_unauthorized" => "OCSP answers that were unauthorized, by why: only those that are monitored.",
        "ocsp_withheld" => "OCSP answers that were tryLater, by why.",
        "ocsp_live" => "OCSP answers of the live lane by where they came from.",
        "ocsp_live_dropped" => "Requests for the live lane that got no live answer, by why: they got the pre-signed one, or tryLater.",
        "documents" => "CRLs and CA certificates sent or withheld.",
        "http_responses" => "HTTP responses by status code.",
        _ => "Connections by what became of them.",
    }
}

fn counter(registry: &Registry, name: &str, help: &str, value: u64) -> Result<()> {
    let counter = IntCounter::new(format!("kakunin_{name}"), help)?;
    counter.inc_by(value);
    registry.register(Box::new(counter))
}

fn gauge(registry: &Registry, name: &str, help: &str, value: u64) -> Result<()> {
    let gauge = IntGauge::new(format!("kakunin_{name}"), help)?;
    gauge.set(value as i64);
    registry.register(Box::new(gauge))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
    let gauges = IntGaugeVec::new(Opts::new(format!("kakunin_{name}"), help), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::scrape;
    use crate::responder::testing::{self, NEXT_UPDATE, NOW, time};

    #[test]
    fn every_number_is_there() {
        let (content, statistics) = (Arc::new(testing::content()), Statistics::new(2));
        statistics.threads()[0].count(Event::Good);
        statistics.threads()[1].count(Event::Good);
        let part: Arc<dyn Part> = Arc::new(ResponderPart::new(content.clone(), statistics));
        let text = scrape(std::slice::from_ref(&part), time(NOW)).unwrap();
        for line in [
            "kakunin_responder_ready 1",
            "kakunin_issuer_published{issuer=\"test\"} 1",
            "kakunin_ocsp_answers_total{kind=\"good\"} 2",
            "kakunin_http_responses_total{kind=\"200\"} 0",
            "kakunin_certificates{hash=\"sha1\",issuer=\"test\"} 100",
            "kakunin_certificates_revoked{hash=\"sha256\",issuer=\"test\"} 1",
            "kakunin_packs{hash=\"sha1\",issuer=\"test\"} 8",
            &format!("kakunin_packs_next_update_seconds{{hash=\"sha1\",issuer=\"test\"}} {NEXT_UPDATE}"),
            "kakunin_crl_number{issuer=\"test\",scope=\"full\"} 1",
            "kakunin_crl_number{issuer=\"test\",scope=\"1\"} 1",
            "kakunin_packs_refused_total 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert!(scrape(std::slice::from_ref(&part), time(NEXT_UPDATE)).unwrap().contains("kakunin_responder_ready 0"));
    }
}
