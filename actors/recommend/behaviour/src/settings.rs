//! Settings, with the measured defaults.

/// A day.
const DAY_MS: u64 = 86_400_000;

/// Everything that can be set. What the state is built from (all but `blend`, `bridge`, `together` and the readings) must stay the
/// same for a saved state to go on as it began.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How much an event of each kind weighs.
    pub weights: KindWeights,
    /// Pairs within a visit.
    pub view: Channel,
    /// Pairs within a shopper's whole history.
    pub shopper: ShopperChannel,
    /// Viewed, then bought.
    pub cross: CrossChannel,
    /// Bought in one order.
    pub basket: Basket,
    /// Visits and their index.
    pub sessions: Sessions,
    /// How a running visit is answered.
    pub blend: Blend,
    /// Items that are new.
    pub bridge: Bridge,
    /// What a shopper buys again.
    pub again: Again,
    /// What may be kept.
    pub bounds: Bounds,
}

/// How much an event of each kind weighs.
#[derive(Clone, Debug)]
pub struct KindWeights {
    /// By the number of the kind, for view, click, wish list, cart and purchase.
    pub interest: [f32; 5],
    /// Taken from an item's popularity by a refund.
    pub refund: f32,
    /// Taken from an item's popularity by a dismissal.
    pub dismiss: f32,
}

impl Default for KindWeights {
    fn default() -> Self {
        Self { interest: [1.0, 1.0, 2.0, 3.0, 5.0], refund: 5.0, dismiss: 3.0 }
    }
}

/// How pairs are counted: `C[i][j] += w decay^(d-1)` and `C[j][i] += back w decay^(d-1)` for the item `i` seen `d` steps before `j`.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Steps back.
    pub window: usize,
    /// What one step more takes.
    pub decay: f32,
    /// How much the pair counts in the other direction.
    pub back: f32,
    /// After so long an event weighs half; `None`: never.
    pub half_life_ms: Option<u64>,
    /// Neighbours of an item.
    pub row_max: usize,
    /// How the pairs are read.
    pub reading: Reading,
}

impl Default for Channel {
    fn default() -> Self {
        let reading = Reading { popularity: 0.3, shrink: 0.0, profile_half_life: 2.0, row_normalised: true, sources_max: 20 };
        Self { window: 20, decay: 0.6, back: 0.5, half_life_ms: Some(90 * DAY_MS), row_max: 128, reading }
    }
}

/// How a history is scored: `s(j) = sum_r 2^(-r/h) C[i_r][j] / (n_i^(1-a) n_j^a + shrink)`, newest item first.
#[derive(Clone, Debug)]
pub struct Reading {
    /// `a`: how much of the neighbour's own popularity is divided out, 0 to 1.
    pub popularity: f32,
    /// Added to the divisor: pairs seen rarely count less.
    pub shrink: f32,
    /// `h`: after so many items a source counts half.
    pub profile_half_life: f32,
    /// Divide each row by its greatest instead of by `n_i^(1-a)`: every source speaks equally loud.
    pub row_normalised: bool,
    /// Newest items of a history that are read.
    pub sources_max: usize,
}

/// The pairs of whole histories, with a reading for shoppers of few events and one for those of many.
#[derive(Clone, Debug)]
pub struct ShopperChannel {
    /// How pairs are counted; `pairs.reading` is that of shoppers of few events.
    pub pairs: Channel,
    /// The reading where shoppers have many events: older items say more.
    pub dense: Reading,
    /// Many are so many for each shopper that is remembered.
    pub dense_events_per_shopper: f32,
}

impl Default for ShopperChannel {
    fn default() -> Self {
        let reading = Reading { popularity: 0.5, shrink: 5.0, profile_half_life: 2.0, row_normalised: false, sources_max: 20 };
        let dense = Reading { shrink: 10.0, profile_half_life: 5.0, ..reading.clone() };
        Self {
            pairs: Channel { window: 20, decay: 0.9, back: 0.5, half_life_ms: Some(180 * DAY_MS), row_max: 96, reading },
            dense,
            dense_events_per_shopper: 30.0,
        }
    }
}

/// Viewed, then bought.
#[derive(Clone, Debug)]
pub struct CrossChannel {
    /// How pairs are counted; `back` is not used.
    pub pairs: Channel,
}

impl Default for CrossChannel {
    fn default() -> Self {
        Self { pairs: Channel { back: 0.0, row_max: 64, ..Channel::default() } }
    }
}

/// Bought in one order: `C[i][j] = sum over orders (|order| - 1)^-size` (wcos), normalised by the same weights.
#[derive(Clone, Debug)]
pub struct Basket {
    /// How much less a pair of a large order counts.
    pub size: f32,
    /// `a`, `shrink` as in [`Reading`].
    pub popularity: f32,
    /// Added to the divisor.
    pub shrink: f32,
    /// How much popularity counts beside, both divided by their greatest.
    pub popular: f32,
    /// After so long an order weighs half; `None`: never.
    pub half_life_ms: Option<u64>,
    /// Neighbours of an item.
    pub row_max: usize,
    /// Items of one order that count; the others are left out.
    pub order_items_max: usize,
    /// An order takes further items for so long.
    pub order_open_ms: u64,
    /// Only pairs with so many orders in common are shown as bought together.
    pub support_min: u32,
    /// Only pairs with a greater lift are shown.
    pub lift_min: f32,
    /// Only pairs with at least this log-likelihood ratio are shown (Dunning 1993; 10.83: p < .001).
    pub likelihood_ratio_min: f64,
}

impl Default for Basket {
    fn default() -> Self {
        Self {
            size: 0.5,
            popularity: 0.4,
            shrink: 10.0,
            popular: 0.08,
            half_life_ms: Some(365 * DAY_MS),
            row_max: 384,
            order_items_max: 40,
            order_open_ms: 3_600_000,
            support_min: 3,
            lift_min: 1.0,
            likelihood_ratio_min: 10.83,
        }
    }
}

/// Visits and their index.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// A visit ends after so long a pause.
    pub gap_ms: u64,
    /// Latest visits known for each item.
    pub ring_max: usize,
    /// Items of one visit that count, the newest.
    pub items_max: usize,
    /// Visits in the index.
    pub indexed_max: usize,
    /// Visits under way.
    pub open_max: usize,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { gap_ms: 1_800_000, ring_max: 2_500, items_max: 50, indexed_max: 2_000_000, open_max: 100_000 }
    }
}

/// How a running visit is answered: visits like it (STAN, Garg et al. 2019; VMIS, Kersbergen et al. 2022) beside pairs and taste.
#[derive(Clone, Debug, PartialEq)]
pub struct Blend {
    /// `l1`: a match so many items back counts 1/e.
    pub match_decay: f32,
    /// `l2`: a visit that old, as a share of all visits, counts 1/e; 0: age does not count.
    pub age_decay: f32,
    /// `l3`: an item so far from the match counts 1/e; 0: distance does not count.
    pub distance_decay: f32,
    /// Exponent of the visit's length that its similarity is divided by.
    pub length: f32,
    /// Exponent of an item's inverse document frequency.
    pub rarity: f32,
    /// Most similar visits that are read.
    pub neighbours_max: usize,
    /// Newest items of the visit that are matched.
    pub items_max: usize,
    /// What an item of the visit itself is multiplied by; 0 never recommends it.
    pub repeat: f32,
    /// Weight of the visits like it.
    pub neighbours: f32,
    /// Weight of the pairs within visits.
    pub pairs: f32,
    /// Weight of the pairs within the shopper's history.
    pub taste: f32,
    /// Exponent of popularity divided out of the pairs, `a` in [`Reading`].
    pub pairs_popularity: f32,
    /// After so many items a source of the pairs counts half.
    pub pairs_half_life: f32,
}

impl Default for Blend {
    fn default() -> Self {
        Self {
            match_decay: 2.0,
            age_decay: 0.0,
            distance_decay: 2.0,
            length: 0.5,
            rarity: 0.5,
            neighbours_max: 500,
            items_max: 10,
            repeat: 1.5,
            neighbours: 1.0,
            pairs: 0.15,
            taste: 0.1,
            pairs_popularity: 0.3,
            pairs_half_life: 2.0,
        }
    }
}

/// New items inherit the pairs of what is most like them.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Like items that are read.
    pub neighbours_max: usize,
    /// Exponent of the cosine.
    pub power: i32,
    /// Weight of likeness itself beside.
    pub content: f32,
    /// Weight of new items beside the others, both divided by their greatest.
    pub boost: f32,
    /// Places of a list that new items may take.
    pub slots_max: usize,
    /// An item is new until so many events.
    pub events_min: u32,
}

impl Default for Bridge {
    fn default() -> Self {
        Self { neighbours_max: 100, power: 3, content: 0.5, boost: 0.5, slots_max: 3, events_min: 20 }
    }
}

/// What a shopper buys again: decayed purchases, lifted when one is due: `n (1 + due exp(-|ln(since / interval)|))`.
#[derive(Clone, Debug)]
pub struct Again {
    /// After so long a purchase counts half.
    pub half_life_ms: u64,
    /// How much being due counts.
    pub due: f32,
    /// Weight of popularity beside, both divided by their greatest.
    pub popular: f32,
}

impl Default for Again {
    fn default() -> Self {
        Self { half_life_ms: 60 * DAY_MS, due: 0.5, popular: 0.2 }
    }
}

/// What may be kept.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Items, at most 2^24; events of further ones are refused.
    pub items_max: usize,
    /// Shoppers; the longest unused makes room.
    pub shoppers_max: usize,
    /// Newest events of a shopper.
    pub history_max: usize,
    /// Different items a shopper bought.
    pub bought_max: usize,
    /// Most popular items kept ready; longer lists are counted out.
    pub popular_max: usize,
    /// Orders under way.
    pub orders_open_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { items_max: 4_000_000, shoppers_max: 2_000_000, history_max: 20, bought_max: 200, popular_max: 128, orders_open_max: 4_096 }
    }
}
