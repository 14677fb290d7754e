//! The live lane's answers over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Response};

use crate::pki::ocsp_live::LiveStatus;
use crate::pki::ocsp_request::OcspRequest;
use crate::pki::ocsp_response::ErrorStatus;
use crate::pki::{CertificateStatus, Timestamp};

use super::super::counters::Event;
use super::super::headers::{ETag, Validity};
use super::super::service::{self, Service};
use super::{Answered, Dropped, Lane, LiveOutcome, Origin, RELAYED};

impl Service {
    /// Answers a request that the live lane may answer. `conditional`: the request is a GET, which its headers may make conditional.
    pub(in super::super) async fn respond_live(
        &self,
        lane: &Arc<Lane>,
        request: OcspRequest<'_>,
        issuer: Option<&str>,
        headers: &HeaderMap,
        conditional: bool,
    ) -> Response<Full<Bytes>> {
        let outcome = lane.answer(&request, issuer, headers.contains_key(RELAYED), || self.now()).await;
        let now = self.now();
        match outcome {
            LiveOutcome::Answered(answered, origin) => {
                self.count_live(&answered, origin);
                self.live_response(&answered, now, conditional.then_some(headers))
            }
            LiveOutcome::PreSigned => self.respond_pre_signed(&request, issuer, now, conditional.then_some(headers)),
            LiveOutcome::Refused(refusal) => {
                self.count_refusal(refusal);
                service::refused(refusal.status())
            }
            LiveOutcome::Dropped(dropped) => {
                self.count(event(dropped));
                self.respond_instead(&request, issuer, now, conditional.then_some(headers))
            }
        }
    }

    /// The pre-signed response without the nonce; tryLater where there is none.
    fn respond_instead(
        &self,
        request: &OcspRequest<'_>,
        issuer: Option<&str>,
        now: Timestamp,
        conditional: Option<&HeaderMap>,
    ) -> Response<Full<Bytes>> {
        let mut body = Vec::new();
        if let Ok(definitive) = self.answer_pre_signed(request, issuer, now, &mut body) {
            self.count_definitive(&definitive);
            return self.definitive(&definitive, body, now, conditional);
        }
        self.count(Event::TryLater);
        service::refused(ErrorStatus::TryLater)
    }

    /// Answers with a nonce are for one client, and those about certificates that may yet be issued for nobody to keep (rule O13).
    fn live_response(&self, answered: &Answered, now: Timestamp, conditional: Option<&HeaderMap>) -> Response<Full<Bytes>> {
        let Answered { question, answer } = answered;
        let body = answer.der.clone();
        if question.nonce.is_some() || !question.is_about_issued() {
            return service::not_stored(body);
        }
        let validity = Validity { this_update: answer.this_update, next_update: Some(answer.next_update), refresh_at: Some(answer.due) };
        self.stored(&validity, &ETag::strong(&answer.tag), body, now, conditional)
    }

    fn count_live(&self, answered: &Answered, origin: Origin) {
        self.count(match origin {
            Origin::Signed => Event::LiveSigned,
            Origin::Shared => Event::LiveShared,
            Origin::Cached => Event::LiveCached,
        });
        for single in &answered.question.singles {
            self.count(match single.status {
                LiveStatus::Issued(CertificateStatus::Good) => Event::Good,
                LiveStatus::Issued(CertificateStatus::Revoked(_)) => Event::Revoked,
                LiveStatus::Unknown => Event::Unknown,
                LiveStatus::NeverIssued => Event::NeverIssued,
            });
        }
    }
}

fn event(dropped: Dropped) -> Event {
    match dropped {
        Dropped::Budget => Event::LiveBudget,
        Dropped::Queue => Event::LiveQueue,
        Dropped::Late => Event::LiveLate,
        Dropped::Failed => Event::LiveFailed,
        Dropped::Behind => Event::LiveBehind,
    }
}
