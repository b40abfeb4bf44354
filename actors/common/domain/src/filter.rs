//! Which products count: the filter that search, recommendations and rules share.

/// A condition on a product. A product with several values (or variants) meets a condition when one of them does.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every one of these; none means every product.
    All(Vec<Filter>),
    /// At least one of these; none means no product.
    Any(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The attribute has one of these values; letter case, accents and blanks around do not count.
    In {
        /// Which attribute.
        attribute: String,
        /// At least one.
        values: Vec<String>,
    },
    /// The attribute is a number or a time between these, where given.
    Range {
        /// Which attribute.
        attribute: String,
        /// The lower bound.
        from: Option<Bound>,
        /// The upper bound.
        to: Option<Bound>,
    },
    /// The attribute is a path (a category) that begins like this.
    Under {
        /// Which attribute.
        attribute: String,
        /// From the widest to the narrowest.
        path: Vec<String>,
    },
    /// The attribute has any value.
    Exists {
        /// Which attribute.
        attribute: String,
    },
    /// The attribute is a place within this distance on the globe.
    Near {
        /// Which attribute.
        attribute: String,
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// Metres.
        radius_m: f64,
    },
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The value.
    pub value: Scalar,
    /// Whether the value itself is within.
    pub is_inclusive: bool,
}

/// What ranges compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A number; money in units of its currency.
    Number(f64),
    /// Milliseconds since the Unix epoch.
    Time(i64),
}
