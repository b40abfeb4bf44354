//! The features by name, with the weight each has before anything was learned.

macro_rules! features {
    ($($(#[doc = $doc:literal])* $name:ident $text:literal $personal:literal $prior:literal)*) => {
        /// What candidates are weighed by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Feature {
            $($(#[doc = $doc])* $name,)*
        }

        impl Feature {
            /// All, in the order in which they stand in [`super::Features`].
            pub const ALL: [Self; FEATURES] = [$(Self::$name,)*];

            /// As explanations and reports name it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether it speaks of this shopper, and fades with the strength of personalisation.
            pub const fn is_personal(self) -> bool {
                match self { $(Self::$name => $personal,)* }
            }

            /// Its weight before anything was learned: fitted once on a year of purchases of 2,469 households where those have
            /// what it needs, and set by hand where they have not (views, refusals, sizes, pictures, candidate scores).
            pub const fn prior(self) -> f32 {
                match self { $(Self::$name => $prior,)* }
            }
        }

        /// How many there are.
        pub const FEATURES: usize = [$($text,)*].len();
    };
}

features! {
    /// Log of decayed popularity beside the mean of the list.
    Popularity "popularity" false 0.74
    /// Popularity of four weeks beside that of a season.
    Trend "trend" false 0.0
    /// Log of decayed purchases in the store that is asked for, likewise.
    Store "store" false 0.17
    /// How often its buyers buy it again.
    RepeatRate "repeat_rate" false -0.34
    /// Log of the price beside the mean of its type.
    RelativePrice "relative_price" false 0.0
    /// What proposed it, by its place between the least and the most score of the list.
    CandidateScore "candidate_score" false 1.0
    /// Log of the shopper's own decayed purchases.
    OwnCount "own_count" true 1.18
    /// `exp(-days / 14)` since the shopper bought it.
    Recency "recency" true 0.18
    /// The shopper has bought it.
    Bought "bought" true 0.82
    /// Its share of the shopper's purchases in its type.
    OwnShare "own_share" true 0.4
    /// It is what the shopper buys most of this list.
    OwnFirst "own_first" true 0.0
    /// It is what the shopper bought last of this list.
    OwnLast "own_last" true 0.0
    /// How near the time since the last purchase is to the interval between purchases.
    Due "due" true 0.0
    /// How often its buyers buy it again, of what the shopper has bought.
    OwnRepeatRate "own_repeat_rate" true 0.0
    /// Its brand among the shopper's brands of the type.
    Brand "brand" true 0.32
    /// Its brand in the shopper's purchases of other types.
    BrandElsewhere "brand_elsewhere" true 0.0
    /// The shop's own brand, by the shopper's taste for it.
    PrivateLabel "private_label" true 0.74
    /// How far its relative price is from what the shopper pays.
    PriceFit "price_fit" true 0.04
    /// What follows the item of the type that the shopper bought last.
    AfterLast "after_last" true 0.23
    /// And the one before that.
    AfterSecond "after_second" true 0.18
    /// Colour, material and other attributes, by the shopper's taste for them.
    Attributes "attributes" true 0.3
    /// Its size, by the shopper's sizes.
    Size "size" true 0.6
    /// Its picture beside what this visit is about.
    LookNow "look_now" true 1.0
    /// Its picture beside the shopper's tastes.
    LookTaste "look_taste" true 0.6
    /// Its text beside what this visit is about.
    TextNow "text_now" true 1.0
    /// Its text beside the shopper's tastes.
    TextTaste "text_taste" true 0.6
    /// The shopper has looked at it and not bought it.
    Seen "seen" true 0.4
    /// The shopper has refused it.
    Refused "refused" true -3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_priors_finite() {
        for (at, feature) in Feature::ALL.into_iter().enumerate() {
            assert_eq!(feature as usize, at);
            assert!(feature.prior().is_finite());
            assert!(Feature::ALL[..at].iter().all(|other| other.name() != feature.name()), "{}", feature.name());
        }
    }
}
