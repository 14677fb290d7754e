//! What the signing worker counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tracing::error;

use super::gate::Refusal;

/// Counters of one worker; cheap to clone, shared by its threads.
#[derive(Clone, Debug)]
pub struct SigningMetrics {
    /// OCSP responses signed.
    pub responses: IntCounter,
    /// Packs published.
    pub packs: IntCounter,
    /// CRLs published.
    pub crls: IntCounter,
    /// Attempts that failed: see the log for each.
    pub failures: IntCounter,
    /// Rules that something signed here broke, by the rule's id (`rule`): it was not published. An alarm when it is not 0.
    pub gate_findings: IntCounterVec,
    /// Workers that run: an alarm while it is 0.
    pub running: IntGauge,
    /// Issuers for which the last attempt failed, or whose keys cannot be opened: an alarm while it is not 0.
    pub failing_issuers: IntGauge,
    /// When the certificate of an issuer's delegated OCSP responder ends, in seconds since 1970, by the issuer's name (`issuer`): an alarm when that is near.
    pub responder_not_after: IntGaugeVec,
}

impl Default for SigningMetrics {
    fn default() -> Self {
        let counter = |name, help| IntCounter::new(name, help).expect("a constant, valid metric name");
        let gauge = |name, help| IntGauge::new(name, help).expect("a constant, valid metric name");
        Self {
            responses: counter("kakunin_signing_responses_total", "OCSP responses signed"),
            packs: counter("kakunin_signing_packs_published_total", "Response packs published"),
            crls: counter("kakunin_signing_crls_published_total", "CRLs published"),
            failures: counter("kakunin_signing_failures_total", "Signing attempts that failed"),
            gate_findings: IntCounterVec::new(
                Opts::new("kakunin_signing_gate_findings_total", "Rules that something signed here broke: it was not published"),
                &["rule"],
            )
            .expect("a constant, valid metric name and label"),
            running: gauge("kakunin_signing_running", "Signing workers that run"),
            failing_issuers: gauge("kakunin_signing_failing_issuers", "Issuers whose last signing attempt failed"),
            responder_not_after: IntGaugeVec::new(
                Opts::new("kakunin_signing_responder_not_after_seconds", "When the certificate of an OCSP responder ends"),
                &["issuer"],
            )
            .expect("a constant, valid metric name and label"),
        }
    }
}

impl SigningMetrics {
    /// Shows the counters in a metrics registry. Fails where they are shown there already.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        for counter in [&self.responses, &self.packs, &self.crls, &self.failures] {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(self.gate_findings.clone()))?;
        registry.register(Box::new(self.running.clone()))?;
        registry.register(Box::new(self.responder_not_after.clone()))?;
        registry.register(Box::new(self.failing_issuers.clone()))
    }

    /// Something was signed that breaks a rule, which the encoder should never do: each rule in the log and in the metrics.
    pub(super) fn alarm(&self, issuer: &str, refusal: &Refusal) {
        for finding in &refusal.findings {
            self.gate_findings.with_label_values(&[finding.rule]).inc();
            error!(issuer, rule = finding.rule, artefact = refusal.artefact, "not published: {finding}");
        }
    }
}

/// Shows in the metrics that the worker runs, and, should it panic, that it does not any more.
pub(super) struct RunningMark(IntGauge);

impl RunningMark {
    /// From now on.
    pub(super) fn new(metrics: &SigningMetrics) -> RunningMark {
        metrics.running.inc();
        RunningMark(metrics.running.clone())
    }
}

impl Drop for RunningMark {
    fn drop(&mut self) {
        self.0.dec();
    }
}
