//! Thinning: of a long run so many seconds that a chart stays small, and every peak and every trough among them.

/// The most points along a chart.
pub(crate) const MOST_POINTS: usize = 1500;

/// The seconds to show, rising: all of them where they are few. Otherwise the run is cut into equal pieces, and of each piece every series keeps
/// the second of its least and of its greatest value, so that nothing that stands out is lost. At most [`MOST_POINTS`], the first and the last among them.
pub(crate) fn kept(seconds: usize, series: &[&dyn Fn(usize) -> f64]) -> Vec<usize> {
    if seconds <= MOST_POINTS {
        return (0..seconds).collect();
    }
    let pieces = ((MOST_POINTS - 2) / (2 * series.len().max(1))).max(1);
    let mut kept = vec![0, seconds - 1];
    for piece in 0..pieces {
        let range = seconds * piece / pieces..seconds * (piece + 1) / pieces;
        for value in series {
            let compare = |a: &usize, b: &usize| value(*a).total_cmp(&value(*b));
            kept.extend(range.clone().min_by(compare).into_iter().chain(range.clone().max_by(compare)));
        }
    }
    kept.sort_unstable();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_seconds_all_stay() {
        assert_eq!(kept(3, &[]), [0, 1, 2]);
        assert_eq!(kept(0, &[]), [0usize; 0]);
        assert_eq!(kept(MOST_POINTS, &[&|_| 0.0]).len(), MOST_POINTS);
    }

    #[test]
    fn a_day_keeps_the_one_second_that_stood_out() {
        let spike = |second: usize| if second == 54_321 { 1.0 } else { 0.0 };
        let gap = |second: usize| if second == 11_111 { 0.0 } else { 1.0 };
        let kept = kept(86_400, &[&spike, &gap]);
        assert!(kept.contains(&54_321) && kept.contains(&11_111), "{kept:?}");
    }

    proptest! {
        #[test]
        fn bounded_rising_and_with_every_extreme(seconds in 1usize..20_000, a: u64, b: u64) {
            let wave = |seed: u64| move |second: usize| ((second as u64).wrapping_mul(seed | 1) >> 40) as f64;
            let (first, second) = (wave(a), wave(b));
            let kept = kept(seconds, &[&first, &second]);
            prop_assert!(kept.len() <= MOST_POINTS && kept.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(kept.first() == Some(&0) && kept.last() == Some(&(seconds - 1)));
            for value in [&first as &dyn Fn(usize) -> f64, &second] {
                let extreme = |all: &mut dyn Iterator<Item = usize>| all.map(value).fold((f64::MAX, f64::MIN), |(l, g), v| (l.min(v), g.max(v)));
                prop_assert_eq!(extreme(&mut kept.iter().copied()), extreme(&mut (0..seconds)));
            }
        }
    }
}
