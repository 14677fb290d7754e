//! Which objectives a plan misses: rules of the programmes by their ids, and what simply cannot work.

use super::Plan;
use super::facts::CRL_LIMIT;
use super::options::Input;
use crate::figures::{duration, number, octets};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

/// A sentence for each.
pub(super) fn warnings(input: &Input, plan: &Plan) -> Vec<String> {
    let all = [responses(input), tokens(input, plan), crls(input, plan), nodes(input)];
    all.into_iter().flatten().collect()
}

fn responses(input: &Input) -> Vec<String> {
    let (validity, refresh) = (input.validity, input.refresh);
    let shown = |seconds| duration(seconds);
    let mut found = Vec::new();
    if !(8.0 * HOUR..=10.0 * DAY).contains(&validity) {
        found.push(format!("T1: validity is {}, wanted 8 h to 10 days", shown(validity)));
    }
    if validity < 16.0 * HOUR && refresh >= validity / 2.0 {
        found.push(format!("T1: refresh is {}, wanted less than half of the validity of {}", shown(refresh), shown(validity)));
    }
    let latest = (validity - 8.0 * HOUR).min(4.0 * DAY);
    if validity >= 16.0 * HOUR && refresh > latest {
        found.push(format!("T1: refresh is {}, wanted at most {}: 4 days, and 8 h before nextUpdate", shown(refresh), shown(latest)));
    }
    if validity > 7.0 * DAY || refresh > validity / 2.0 {
        found.push(format!(
            "T2: validity {} and refresh {}; Microsoft's programme wants at most 7 days, and at most half of the validity",
            shown(validity),
            shown(refresh)
        ));
    }
    found
}

fn tokens(input: &Input, plan: &Plan) -> Vec<String> {
    let mut found = Vec::new();
    let (steady, possible) = (plan.value("signatures-steady"), plan.value("signatures-possible"));
    if steady > possible {
        found.push(format!(
            "the tokens are too slow for the refresh: {}/s are needed, {}/s are possible",
            number(steady),
            number(possible)
        ));
    } else if steady > 0.7 * possible {
        found.push(format!("the tokens are busy for {} % of the time: little is left to catch up with", number(100.0 * steady / possible)));
    }
    let worst = plan.value("signatures-worst-minute");
    if worst > possible && steady <= possible {
        found.push(format!("the worst minute wants {}/s, {}/s are possible: new certificates and revocations go first, the refresh falls behind and catches up", number(worst), number(possible)));
    }
    let (all, spare) = (plan.value("resign-all"), plan.value("longest-outage"));
    if all > input.refresh {
        found.push(format!("to sign everything takes {}, more than the refresh of {}", duration(all), duration(input.refresh)));
    }
    if all > spare {
        found.push(format!(
            "after a new responder key, or packs that are lost, signing everything takes {}: what is published lives {} longer",
            duration(all),
            duration(spare)
        ));
    }
    let mass = plan.value("mass-revocation");
    if mass > DAY {
        found.push(format!(
            "T4, T5: a mass revocation of {} is signed after {}, wanted within 24 h",
            number(input.mass_revocation),
            duration(mass)
        ));
    }
    found
}

fn crls(input: &Input, plan: &Plan) -> Vec<String> {
    let mut found = Vec::new();
    let (greatest, full) = (plan.value("crl-octets"), plan.value("crl-octets-full"));
    if greatest >= CRL_LIMIT {
        let needed = number(plan.value("crl-partitions-needed"));
        found.push(format!("C8: the greatest CRL has {}, wanted less than 10 MB: {needed} partitions do", octets(greatest)));
    } else if input.crl_partitions > 0.0 && full >= CRL_LIMIT {
        found.push(format!("C8: the full CRL, which stands beside the partitions, has {}: let no certificate point to it", octets(full)));
    }
    let incident = plan.value("crl-partitions-incident");
    if greatest < CRL_LIMIT && incident > input.crl_partitions.max(1.0) {
        found.push(format!(
            "C8: after the mass revocation {} partitions would be needed, and there are {}: certificates name theirs for life",
            number(incident),
            number(input.crl_partitions)
        ));
    }
    if input.crl_validity > 10.0 * DAY || input.crl_refresh > 7.0 * DAY {
        found.push(format!(
            "T5: CRL validity {} and refresh {}, wanted at most 10 days, and 7 days",
            duration(input.crl_validity),
            duration(input.crl_refresh)
        ));
    }
    if input.crl_refresh >= input.crl_validity {
        found.push(format!(
            "CRL refresh is {}, wanted less than the validity of {}",
            duration(input.crl_refresh),
            duration(input.crl_validity)
        ));
    }
    found
}

fn nodes(input: &Input) -> Vec<String> {
    let alone = input.nodes < 2.0;
    alone
        .then(|| "O16: one node alone: while it is down nothing is answered, and answers are wanted 24 hours a day".to_owned())
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::plan::options::Options;
    use crate::plan::tests::plan;

    fn warned(change: impl FnOnce(&mut Options)) -> String {
        plan(change).warnings.join("\n")
    }

    fn hours(hours: u64) -> Option<Duration> {
        Some(Duration::from_secs(3600 * hours))
    }

    #[test]
    fn a_sound_plan_has_no_warning() {
        assert_eq!(warned(|_| ()), "");
    }

    #[test]
    fn t1_t2_s3_6_times_out_of_bounds_are_warned_of() {
        assert!(warned(|o| o.validity = hours(7)).contains("T1: validity is 7 h"));
        assert!(warned(|o| (o.validity, o.refresh) = (hours(10), hours(5))).contains("T1: refresh is 5 h, wanted less than half"));
        assert!(warned(|o| o.refresh = hours(97)).contains("T1: refresh is 4.04 days, wanted at most 4 days"));
        assert!(warned(|o| o.refresh = hours(96)).starts_with("T2: validity 7 days and refresh 4 days"));
    }

    #[test]
    fn a_token_that_is_too_slow_is_warned_of() {
        assert!(warned(|o| o.token_rate = Some(60.0)).contains("too slow for the refresh: 68."));
        assert!(warned(|o| o.token_rate = Some(80.0)).contains("busy for 8"));
        let slow = warned(|o| o.token_rate = Some(80.0));
        assert!(slow.contains("T4, T5: a mass revocation of 10,000,000 is signed after 2.89 days"), "{slow}");
        assert!(!warned(|o| (o.token_rate, o.mass_revocation) = (Some(80.0), Some(100_000))).contains("mass revocation of"));
    }

    #[test]
    fn c8_crls_of_ten_megabytes_are_warned_of() {
        let found = warned(|o| (o.crl_partitions, o.revoked) = (Some(2), Some(0.1)));
        assert!(found.contains("C8: the greatest CRL has 24.6 MB, wanted less than 10 MB: 5 partitions do"), "{found}");
        assert!(
            warned(|o| o.crl_partitions = Some(8)).contains("C8: after the mass revocation 50 partitions"),
            "{}",
            warned(|o| o.crl_partitions = Some(8))
        );
    }

    #[test]
    fn t5_and_o16_are_warned_of() {
        assert!(warned(|o| o.crl_refresh = hours(8 * 24)).contains("T5: CRL validity 7 days and refresh 8 days"));
        assert!(warned(|o| o.nodes = Some(1)).contains("O16"));
    }
}
