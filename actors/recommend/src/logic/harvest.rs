//! The newest events, as small as they can be kept: what the nightly regression is fitted on.

use std::collections::{HashMap, HashSet, VecDeque};

use behaviour::{Event as Done, Kind};
use domain::Shopper;
use protocol::journal::LogBody;

use super::lessons::lessons;

/// No order.
const NONE: u32 = u32::MAX;

/// Names by number, in the order of their first appearance.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        number
    }
}

/// One thing done with one item, everything by number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lesson {
    pub(crate) shopper: u32,
    pub(crate) item: u32,
    order: u32,
    pub(crate) kind: Kind,
    pub(crate) at_ms: u64,
}

impl Lesson {
    /// The order that it is a purchase of.
    pub(crate) fn order(&self) -> Option<u32> {
        (self.order != NONE).then_some(self.order)
    }
}

/// Takes the log's records in their order and keeps the newest.
#[derive(Debug)]
pub(crate) struct Harvest {
    items: Names,
    shoppers: Names,
    orders: Names,
    lessons: VecDeque<Lesson>,
    lessons_max: usize,
    /// Lessons ever taken.
    taken: usize,
    /// Visitors, and the users that they turned out to be.
    logins: HashMap<u32, u32>,
    /// Forgotten shoppers: what was taken of them before is not used.
    erased: HashMap<u32, usize>,
}

/// What is used of it.
#[derive(Debug, Default)]
pub(crate) struct Harvested {
    /// Items by number.
    pub(crate) names: Vec<Box<str>>,
    /// Oldest first.
    pub(crate) lessons: Vec<Lesson>,
    /// The different items of each order, in the order of their first appearance.
    pub(crate) orders: Vec<Vec<u32>>,
    /// The different items of each shopper, likewise.
    pub(crate) histories: Vec<Vec<u32>>,
}

impl Harvest {
    /// Keeps so many lessons at most.
    pub(crate) fn new(lessons_max: usize) -> Self {
        Self {
            items: Names::default(),
            shoppers: Names::default(),
            orders: Names::default(),
            lessons: VecDeque::new(),
            lessons_max,
            taken: 0,
            logins: HashMap::new(),
            erased: HashMap::new(),
        }
    }

    /// Takes one record.
    pub(crate) fn take(&mut self, body: &LogBody) {
        match body {
            LogBody::Event(event) => {
                if event.is_personal()
                    && let Some((visitor, user)) = event.login()
                {
                    let (visitor, user) = (self.shoppers.number(visitor.as_str()), self.shoppers.number(user.as_str()));
                    self.logins.insert(visitor, user);
                }
                lessons(event, |done| self.learn(done));
            }
            LogBody::Erasure(erasure) => {
                for shopper in erasure.shoppers.iter().map(Shopper::as_str) {
                    if let Some(number) = self.shoppers.numbers.get(shopper) {
                        self.erased.insert(*number, self.taken);
                    }
                }
            }
            LogBody::Served(_) => {}
        }
    }

    fn learn(&mut self, done: &Done<'_>) {
        if !done.kind.is_interest() {
            return;
        }
        let order = match (done.kind, done.order) {
            (Kind::Purchase, Some(order)) => self.orders.number(order),
            // Without a name, what a shopper buys at one time is an order. The separator stands in no name.
            (Kind::Purchase, None) => self.orders.number(&format!("{}\u{1f}{}", done.shopper, done.at_ms)),
            _ => NONE,
        };
        let (shopper, item) = (self.shoppers.number(done.shopper), self.items.number(done.item));
        if self.lessons.len() >= self.lessons_max {
            self.lessons.pop_front();
        }
        self.lessons.push_back(Lesson { shopper, item, order, kind: done.kind, at_ms: done.at_ms });
        self.taken += 1;
    }

    /// Brings everything together.
    pub(crate) fn finish(self) -> Harvested {
        let first = self.taken - self.lessons.len();
        let is_kept = |(place, lesson): &(usize, Lesson)| self.erased.get(&lesson.shopper).is_none_or(|before| first + place >= *before);
        let of_user = |lesson: Lesson| Lesson { shopper: self.logins.get(&lesson.shopper).copied().unwrap_or(lesson.shopper), ..lesson };
        let lessons: Vec<Lesson> = self.lessons.iter().copied().enumerate().filter(is_kept).map(|(_, lesson)| of_user(lesson)).collect();
        let (mut orders, mut histories) = (vec![Vec::new(); self.orders.names.len()], vec![Vec::new(); self.shoppers.names.len()]);
        let (mut in_order, mut in_history) = (HashSet::new(), HashSet::new());
        for lesson in &lessons {
            if lesson.order != NONE && in_order.insert((lesson.order, lesson.item)) {
                orders[lesson.order as usize].push(lesson.item);
            }
            if in_history.insert((lesson.shopper, lesson.item)) {
                histories[lesson.shopper as usize].push(lesson.item);
            }
        }
        Harvested { names: self.items.names, lessons, orders, histories }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use domain::{Erasure, Event, EventItem, EventKind};

    use super::*;

    /// So many shoppers, who buy some of 30 pairs of items (`a7` and `b7`), all of both, in one order and in no order of place.
    pub(crate) fn pairs(shoppers: u64) -> Harvested {
        let mut harvest = Harvest::new(usize::MAX);
        for shopper in 0..shoppers {
            let mut state = shopper.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |bound: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) % bound
            };
            let mut bought: Vec<(u64, String)> = Vec::new();
            for _ in 0..3 + below(6) {
                let pair = below(30);
                bought.extend(["a", "b"].map(|side| (below(1_000), format!("{side}{pair}"))));
            }
            bought.sort();
            for (place, (_, item)) in (0..).zip(&bought) {
                let (name, at_ms) = (format!("u{shopper}"), shopper * 7_200_000 + place * 1_000);
                let done = Done { shopper: &name, session: None, item, kind: Kind::Purchase, at_ms, quantity: 1, order: Some(&name) };
                harvest.learn(&done);
            }
        }
        harvest.finish()
    }

    /// One order.
    pub(crate) fn bought(items: &[&str]) -> Harvested {
        let mut harvest = Harvest::new(usize::MAX);
        for item in items {
            let (kind, order) = (Kind::Purchase, Some("o"));
            harvest.learn(&Done { shopper: "s", session: None, item, kind, at_ms: 0, quantity: 1, order });
        }
        harvest.finish()
    }

    fn event(kind: EventKind, visitor: Option<&str>, user: Option<&str>, products: &[&str], order: Option<&str>) -> LogBody {
        let item =
            |name: &&str| EventItem { product: name.parse().expect("an id"), variant: None, quantity: 1, price: None, position: None };
        LogBody::Event(Arc::new(Event {
            visitor: visitor.map(Into::into),
            user: user.map(Into::into),
            items: products.iter().map(item).collect(),
            order: order.map(Into::into),
            ..Event::new("e", kind, 5)
        }))
    }

    fn harvested(lessons_max: usize, log: &[LogBody]) -> Harvested {
        let mut harvest = Harvest::new(lessons_max);
        log.iter().for_each(|body| harvest.take(body));
        harvest.finish()
    }

    fn names(harvested: &Harvested, rows: &[Vec<u32>]) -> Vec<String> {
        rows.iter().map(|row| row.iter().map(|item| &*harvested.names[*item as usize]).collect::<Vec<_>>().concat()).collect()
    }

    #[test]
    fn orders_and_histories_by_example() {
        let log = [
            event(EventKind::View, Some("v"), None, &["a"], None),
            event(EventKind::View, None, Some("u"), &["b", "a"], None),
            event(EventKind::Purchase, None, Some("u"), &["b", "c"], Some("o1")),
            event(EventKind::Purchase, None, Some("u"), &["c", "d"], Some("o1")),
            event(EventKind::Purchase, None, Some("w"), &["a", "d"], None),
            event(EventKind::Dismiss, None, Some("w"), &["z"], None),
            event(EventKind::Identify, Some("v"), Some("w"), &[], None),
        ];
        let all = harvested(100, &log);
        assert_eq!(names(&all, &all.orders), ["bcd", "ad"]);
        assert_eq!(names(&all, &all.histories), ["", "bacd", "ad"], "the visitor is the user");
        let newest = harvested(3, &log);
        assert_eq!(names(&newest, &newest.orders), ["d", "ad"]);
    }

    #[test]
    fn a_forgotten_shopper_teaches_nothing_but_what_comes_after() {
        let erasure = Erasure { shoppers: vec![Shopper::user("u"), Shopper::user("nobody")], at_ms: 1, receipt: "r".into() };
        let log = [
            event(EventKind::View, None, Some("u"), &["a"], None),
            event(EventKind::View, None, Some("w"), &["b"], None),
            LogBody::Erasure(Arc::new(erasure)),
            event(EventKind::View, None, Some("u"), &["c"], None),
        ];
        let kept = harvested(3, &log);
        assert_eq!((names(&kept, &kept.histories), kept.lessons.len()), (vec!["c".to_owned(), "b".to_owned()], 2));
    }
}
