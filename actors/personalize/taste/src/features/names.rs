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
    /// Log of decayed popularity of four weeks beside the mean of the list.
    Popularity "popularity" false 0.586
    /// The same of one week.
    PopularityWeek "popularity_week" false 0.412
    /// Popularity of four weeks beside that of a season.
    Trend "trend" false -0.69
    /// Log of decayed purchases in the store that is asked for, beside the mean of the list.
    Store "store" false 0.1
    /// How often its buyers buy it again.
    RepeatRate "repeat_rate" false -1.976
    /// Log of the price beside the mean of its type.
    RelativePrice "relative_price" false 0.061
    /// What proposed it, by its place between the least and the most score of the list.
    CandidateScore "candidate_score" false 1.0
    /// Log of the shopper's own decayed purchases.
    OwnCount "own_count" true 0.335
    /// Log of the visits in which the shopper bought it.
    OwnVisits "own_visits" true 0.458
    /// `exp(-days / 14)` since the shopper bought it.
    Recency "recency" true 0.403
    /// `exp(-days / 60)` likewise.
    RecencySeason "recency_season" true 0.262
    /// The shopper has bought it.
    Bought "bought" true 2.154
    /// Its share of the shopper's purchases in its type.
    OwnShare "own_share" true 0.632
    /// How near the time since the last purchase is to the interval between purchases.
    Due "due" true 0.16
    /// How often its buyers buy it again, of what the shopper has bought.
    OwnRepeatRate "own_repeat_rate" true 1.566
    /// How often buyers of its type buy the same again, likewise.
    TypeRepeatRate "type_repeat_rate" true 1.187
    /// How many different items the shopper buys of the type in as many visits, likewise.
    Variety "variety" true -1.184
    /// Log of the shopper's decayed purchases of the type, likewise.
    OwnTypeCount "own_type_count" true -0.252
    /// Its popularity, likewise: popularity matters less for what one knows.
    OwnPopularity "own_popularity" true -0.586
    /// Its brand among the shopper's brands of the type.
    Brand "brand" true 0.175
    /// Likewise, of what the shopper has not bought: a new product of a known brand.
    NewOfBrand "new_of_brand" true 0.433
    /// Its brand in the shopper's purchases of other types.
    BrandElsewhere "brand_elsewhere" true 0.036
    /// The shop's own brand, by the shopper's taste for it.
    PrivateLabel "private_label" true 0.169
    /// How far its relative price is from what the shopper pays.
    PriceFit "price_fit" true 0.081
    /// What follows the item of the type that the shopper bought last.
    AfterLast "after_last" true 0.22
    /// And the one before that.
    AfterSecond "after_second" true 0.122
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
