//! Buy again: what a shopper buys regularly, the more so as the time comes.

use crate::keys::Id;
use crate::profile::{Owned, Profile};
use crate::shop::{Shop, Sold};

/// How much being due adds to the frequency.
const DUE_WEIGHT: f32 = 0.5;
/// How much an item's popularity adds, as a share of the shopper's most frequent item.
const POPULARITY_WEIGHT: f32 = 0.2;
/// A purchase this many days old is as good as new.
const DAYS_MIN: f32 = 0.5;

/// How near the time since the last purchase is to the interval between purchases: `exp(-|ln(days / interval)|)`, 1 when due. The
/// interval is the shopper's own, else that of all who buy the item again; 0 where neither is known.
pub(crate) fn dueness(owned: &Owned, sold: Option<&Sold>, now_ms: i64) -> f32 {
    let interval = owned.interval_days().or_else(|| sold.and_then(Sold::mean_gap_days)).filter(|days| *days > 0.0);
    let Some(interval) = interval else { return 0.0 };
    let ratio = owned.days_since(now_ms).max(DAYS_MIN) / interval.max(DAYS_MIN);
    ratio.min(1.0 / ratio)
}

/// An item to buy again, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Again {
    /// Which.
    pub item: Id,
    /// `purchases * (1 + due / 2)`, plus a share of popularity.
    pub score: f32,
    /// The shopper's decayed purchases.
    pub purchases: f32,
    /// How due it is, between 0 and 1.
    pub due: f32,
    /// Days since it was bought.
    pub days: f32,
}

/// What the shopper has bought, the likeliest to be bought again first, at most `count`.
pub fn buy_again(profile: &Profile, shop: &Shop, now_ms: i64, count: usize) -> Vec<Again> {
    let clock = profile.clock();
    let popularity = |item| shop.popularity(item, now_ms).max(0.0).ln_1p();
    let most = profile.items().iter().map(|owned| popularity(owned.item)).fold(f32::MIN_POSITIVE, f32::max);
    let mut all: Vec<Again> = profile
        .items()
        .iter()
        .map(|owned| {
            let purchases = owned.count_at(clock, now_ms);
            let due = dueness(owned, shop.find(owned.item), now_ms);
            let score = purchases * (1.0 + DUE_WEIGHT * due) + POPULARITY_WEIGHT * popularity(owned.item) / most;
            Again { item: owned.item, score, purchases, due, days: owned.days_since(now_ms) }
        })
        .filter(|again| again.purchases > 0.0)
        .collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::DAY_MS;
    use crate::{Action, Event, Facts};

    const T0: i64 = 1_700_000_000_000;

    /// A shopper who bought items on days.
    fn shopper(purchases: &[(Id, i64)]) -> (Profile, Shop) {
        let (mut profile, mut shop) = (Profile::default(), Shop::default());
        for (item, day) in purchases {
            let event = Event { action: Action::Purchase, item: *item, at_ms: T0 + day * DAY_MS, store: None, facts: Facts::default() };
            let step = profile.apply(&event, &shop);
            shop.apply(&event, &step);
        }
        (profile, shop)
    }

    #[test]
    fn what_is_due_comes_before_what_was_just_bought() {
        // Both twice, ten days apart; the first was due to be bought today, the second was bought yesterday.
        let (profile, shop) = shopper(&[(1, 0), (1, 10), (2, 9), (2, 19)]);
        let again = buy_again(&profile, &shop, T0 + 20 * DAY_MS, 10);
        let due: Vec<(Id, f32)> = again.iter().map(|again| (again.item, again.due)).collect();
        assert_eq!(due.iter().map(|due| due.0).collect::<Vec<_>>(), [1, 2]);
        assert!((due[0].1 - 1.0).abs() < 0.01 && (due[1].1 - 0.1).abs() < 0.01, "{due:?}");
    }

    #[test]
    fn the_more_often_the_earlier_and_no_more_than_asked() {
        let (profile, shop) = shopper(&[(3, 0), (1, 1), (2, 1), (2, 8), (2, 15), (1, 9)]);
        let items = |count| buy_again(&profile, &shop, T0 + 16 * DAY_MS, count).iter().map(|again| again.item).collect::<Vec<_>>();
        assert_eq!(items(10), [2, 1, 3]);
        assert_eq!(items(2), [2, 1]);
        assert!(buy_again(&Profile::default(), &shop, T0, 10).is_empty());
    }
}
