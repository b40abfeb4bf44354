//! How the features of one list are computed.

use super::{Ask, Candidate, Feature, Features};
use crate::centroids::Gaze;
use crate::clock::bounded_ms;
use crate::event::{ATTRIBUTES_MAX, Facts};
use crate::features::FEATURES;
use crate::keys::{Id, short};
use crate::profile::{Owned, Profile, elsewhere_key, kind_total_key, typed_key, wide_key};
use crate::shop::{Kind, Shop, Sold, brand_key, brand_total_key, repeat_rate};

/// Purchases that the shop's share of a brand counts for beside the shopper's own, and a floor under both.
const BRAND_PRIOR: f32 = 3.0;
const BRAND_FLOOR: f32 = 0.02;
const PRIVATE_LABEL_PRIOR: f32 = 10.0;
const TRANSITION_PRIOR: f32 = 5.0;
const ATTRIBUTE_PRIOR: f32 = 5.0;
const RECENCY_DAYS: f32 = 14.0;
const RECENCY_SEASON_DAYS: f32 = 60.0;
/// Purchases that are added under a logarithm: what differs by less than one purchase is hardly different.
const POPULARITY_FLOOR: f32 = 1.0;

/// What a shopper has to do with one type.
#[derive(Clone, Copy, Debug, Default)]
struct OwnKind {
    kind: Id,
    /// Decayed purchases.
    count: f32,
    /// Different items that were bought, and the visits in which each was, summed.
    different: f32,
    visits: f32,
    before: [Option<Id>; 2],
}

/// Reads the shopper and the shop once, and then one candidate after the other.
pub(super) struct Builder<'a> {
    profile: &'a Profile,
    shop: &'a Shop,
    now_ms: i64,
    store: Option<Id>,
    own: f32,
    week: f32,
    fast: f32,
    slow: f32,
    image: Gaze,
    text: Gaze,
    /// Types of the list so far, newest last: most lists have one.
    kinds: Vec<OwnKind>,
    /// Decayed purchases of each candidate by the shopper, and the visits in which they were made.
    owned: Vec<(f32, f32)>,
    /// Decayed repeats and purchases of all candidates by everybody.
    repeats: [f32; 2],
}

impl<'a> Builder<'a> {
    pub(super) fn new(profile: &'a Profile, shop: &'a Shop, ask: &Ask) -> Self {
        let now_ms = bounded_ms(ask.at_ms);
        Self {
            profile,
            shop,
            now_ms,
            store: ask.store,
            own: profile.clock().down(now_ms),
            week: shop.week.down(now_ms),
            fast: shop.fast.down(now_ms),
            slow: shop.slow.down(now_ms),
            image: profile.image().read(now_ms),
            text: profile.text().read(now_ms),
            kinds: Vec::new(),
            owned: Vec::new(),
            repeats: [0.0; 2],
        }
    }

    /// What can be said of a candidate without the others.
    pub(super) fn row(&mut self, candidate: &Candidate, facts: &Facts) -> Features {
        let mut row = Row([0.0; FEATURES]);
        let sold = self.shop.find(candidate.item);
        let owned = self.profile.owned(candidate.item);
        self.shop_features(&mut row, sold);
        self.own_features(&mut row, owned, sold);
        self.owned.push(owned.map_or((0.0, 0.0), |owned| (owned.count * self.own, f32::from(owned.visits))));
        if let Some(sold) = sold {
            self.repeats[0] += sold.repeats;
            self.repeats[1] += sold.purchases;
        }
        if let Some(kind) = facts.kind {
            let own = self.own_kind(kind);
            if let Some(kind) = self.shop.find_kind(kind) {
                self.type_features(&mut row, facts, kind, own);
                self.transition_features(&mut row, candidate.item, sold, kind, own);
                if let Some(owned) = owned {
                    own_in_type(&mut row.0, owned.count * self.own, &own, kind.repeat_rate(self.slow));
                }
            }
        }
        if let Some(brand) = facts.brand {
            let typed = self.profile.taste(typed_key(facts.kind.unwrap_or_default(), brand));
            let all = self.profile.taste(elsewhere_key(brand));
            row.set(Feature::BrandElsewhere, ((all - typed).max(0.0) * self.own).ln_1p());
        }
        let (now, taste) = self.image.nearness(facts.image_model, facts.image);
        row.set(Feature::LookNow, now);
        row.set(Feature::LookTaste, taste);
        let (now, taste) = self.text.nearness(facts.text_model, facts.text);
        row.set(Feature::TextNow, now);
        row.set(Feature::TextTaste, taste);
        row.set(Feature::Seen, (self.profile.seen_of(candidate.item) * self.own).ln_1p());
        row.set(Feature::Refused, (self.profile.refused_of(candidate.item) * self.own).min(2.0));
        row.0
    }

    fn shop_features(&self, row: &mut Row, sold: Option<&Sold>) {
        let popularity = sold.map_or(0.0, |sold| sold.popularity * self.fast);
        row.set(Feature::Popularity, (popularity + POPULARITY_FLOOR).ln());
        let week = sold.map_or(0.0, |sold| sold.popularity_week * self.week);
        row.set(Feature::PopularityWeek, (week + POPULARITY_FLOOR).ln());
        let Some(sold) = sold else {
            row.set(Feature::RepeatRate, 0.25);
            return;
        };
        // Both as purchases a day; the mean age of a decayed count is its half-life / ln 2.
        let (fast_days, slow_days) = (crate::shop::POPULARITY_HALF_LIFE_DAYS as f32, crate::shop::HABIT_HALF_LIFE_DAYS as f32);
        row.set(Feature::Trend, ((popularity / fast_days + 0.01) / (sold.purchases * self.slow / slow_days + 0.01)).ln());
        row.set(Feature::RepeatRate, sold.repeat_rate(self.slow));
        if let Some(store) = self.store {
            row.set(Feature::Store, (sold.in_store(store) * self.slow).ln_1p());
        }
    }

    fn own_features(&self, row: &mut Row, owned: Option<&Owned>, sold: Option<&Sold>) {
        let Some(owned) = owned else { return };
        let days = owned.days_since(self.now_ms);
        row.set(Feature::OwnCount, (owned.count * self.own).ln_1p());
        row.set(Feature::OwnVisits, f32::from(owned.visits).max(1.0).ln());
        row.set(Feature::Recency, (-days / RECENCY_DAYS).exp());
        row.set(Feature::RecencySeason, (-days / RECENCY_SEASON_DAYS).exp());
        row.set(Feature::Bought, 1.0);
        row.set(Feature::OwnRepeatRate, sold.map_or(0.25, |sold| sold.repeat_rate(self.slow)));
        row.set(Feature::Due, crate::again::dueness(owned, sold, self.now_ms));
    }

    fn type_features(&self, row: &mut Row, facts: &Facts, kind: &Kind, own: OwnKind) {
        if let Some(brand) = facts.brand {
            let share = kind.share(brand_key(brand), brand_total_key());
            let count = self.profile.taste(typed_key(kind.kind, brand)) * self.own;
            let posterior = (count + BRAND_PRIOR * share + BRAND_FLOOR) / (own.count.max(count) + BRAND_PRIOR + BRAND_FLOOR);
            row.set(Feature::Brand, (posterior / (share + BRAND_FLOOR)).ln());
        }
        if let (Some(private), Some(share)) = (facts.private_label, kind.private_share()) {
            let [private_count, all] = self.profile.private_label().map(|count| count * self.own);
            let share = share.clamp(0.02, 0.98);
            let (count, share) = if private { (private_count, share) } else { (all - private_count, 1.0 - share) };
            row.set(Feature::PrivateLabel, ((count + PRIVATE_LABEL_PRIOR * share) / (all + PRIVATE_LABEL_PRIOR) / share).ln());
        }
        if let Some(relative) = self.shop.relative_price(facts) {
            row.set(Feature::RelativePrice, relative);
            let [sum, count] = self.profile.price();
            if count > 0.0 {
                let trust = count * self.own / (count * self.own + 5.0);
                row.set(Feature::PriceFit, -(relative - sum / count).abs() * trust);
            }
        }
        let taste = |name: Option<Id>, value: Id| {
            let share = kind.share(wide_key(name, value), kind_total_key(name));
            let count = self.profile.taste(wide_key(name, value)) * self.own;
            let all = (self.profile.taste(kind_total_key(name)) * self.own).max(count);
            if all <= 0.0 || share <= 0.0 {
                return 0.0;
            }
            ((count + ATTRIBUTE_PRIOR * share + BRAND_FLOOR) / (all + ATTRIBUTE_PRIOR + BRAND_FLOOR) / (share + BRAND_FLOOR)).ln()
        };
        if let Some(size) = facts.size {
            row.set(Feature::Size, taste(None, size));
        }
        let attributes = &facts.attributes[..facts.attributes.len().min(ATTRIBUTES_MAX)];
        if !attributes.is_empty() {
            let sum: f32 = attributes.iter().map(|(name, value)| taste(Some(*name), *value)).sum();
            row.set(Feature::Attributes, sum / attributes.len() as f32);
        }
    }

    fn transition_features(&self, row: &mut Row, item: Id, sold: Option<&Sold>, kind: &Kind, own: OwnKind) {
        let share = (sold.map_or(0.0, |sold| sold.purchases) / kind.total.max(f32::MIN_POSITIVE)).clamp(1e-4, 1.0);
        for (rank, feature) in [Feature::AfterLast, Feature::AfterSecond].into_iter().enumerate() {
            let Some(before) = own.before[rank].and_then(|before| self.shop.find(before)) else { continue };
            let (pair, all) = before.followed_by(rank, item);
            let posterior = (pair * self.slow + TRANSITION_PRIOR * share) / (all * self.slow + TRANSITION_PRIOR);
            row.set(feature, (posterior / share).ln());
        }
    }

    fn own_kind(&mut self, kind: Id) -> OwnKind {
        if let Some(own) = self.kinds.iter().rev().find(|own| own.kind == kind) {
            return *own;
        }
        let key = short(kind);
        let mut own = OwnKind { kind, before: self.profile.last_of(key, self.now_ms), ..OwnKind::default() };
        for owned in self.profile.items().iter().filter(|owned| owned.kind == key) {
            own.count += owned.count * self.own;
            own.different += 1.0;
            own.visits += f32::from(owned.visits);
        }
        self.kinds.push(own);
        own
    }

    /// What can be said of the candidates only beside one another.
    pub(super) fn compare(&self, candidates: &[Candidate], rows: &mut [Features]) {
        center(rows, Feature::Popularity);
        center(rows, Feature::PopularityWeek);
        // Centred as well, so that what all candidates have in common explains none of them.
        center(rows, Feature::Trend);
        center(rows, Feature::RepeatRate);
        if self.store.is_some() {
            center(rows, Feature::Store);
        }
        let scores = candidates.iter().filter_map(|candidate| candidate.score).filter(|score| score.is_finite());
        let (least, most) = scores.fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), score| (least.min(score), most.max(score)));
        let spread = most - least;
        for (candidate, row) in candidates.iter().zip(rows.iter_mut()) {
            if let Some(score) = candidate.score.filter(|score| score.is_finite() && spread > 0.0) {
                row[Feature::CandidateScore as usize] = (score - least) / spread;
            }
        }
        // Where no types are known, the list stands for the type.
        let mut own = OwnKind::default();
        for (count, visits) in self.owned.iter().filter(|(_, visits)| *visits > 0.0) {
            own.count += count;
            own.different += 1.0;
            own.visits += visits;
        }
        let list_repeats = repeat_rate(self.repeats[0], self.repeats[1], self.slow);
        for ((count, visits), row) in self.owned.iter().zip(rows) {
            if *visits <= 0.0 {
                row[Feature::NewOfBrand as usize] = row[Feature::Brand as usize];
                continue;
            }
            row[Feature::OwnPopularity as usize] = row[Feature::Popularity as usize];
            if self.kinds.is_empty() {
                own_in_type(row, *count, &own, list_repeats);
            }
        }
    }
}

/// What an item that the shopper has bought is among what the shopper buys of its type.
fn own_in_type(row: &mut Features, count: f32, own: &OwnKind, repeat_rate: f32) {
    row[Feature::OwnShare as usize] = count / (own.count + 0.5);
    row[Feature::TypeRepeatRate as usize] = repeat_rate;
    row[Feature::Variety as usize] = (own.different + 1.0) / (own.visits + 2.0);
    row[Feature::OwnTypeCount as usize] = own.count.ln_1p();
}

/// A feature beside the mean of the list.
fn center(rows: &mut [Features], feature: Feature) {
    let mean = rows.iter().map(|row| row[feature as usize]).sum::<f32>() / rows.len().max(1) as f32;
    rows.iter_mut().for_each(|row| row[feature as usize] -= mean);
}

/// Features by name.
struct Row(Features);

impl Row {
    fn set(&mut self, feature: Feature, value: f32) {
        self.0[feature as usize] = value;
    }
}
