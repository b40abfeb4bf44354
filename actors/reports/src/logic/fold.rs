//! The read models as a function of the event log: each entry changes the day that it happened in, the join and the experiments.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;

use domain::{Erasure, Event, EventItem, EventKind, Money, Served, Shopper};
use events::Entry;
use protocol::journal::LogBody;
use protocol::registry::EXPERIMENTS_MAX;
use protocol::reports::{Date, DayTotals};

use crate::config::Config;
use crate::logic::clusters::plain;
use crate::logic::day::{Day, QueryCounts, RowKey, mark};
use crate::logic::join::{Credit, Join, List, Mark, Windows};
use crate::logic::report::totals;
use crate::logic::salt::{Salt, fnv};
use crate::logic::top::Top;
use crate::logic::trial::{Happened, Trials};

const HOUR_MS: i64 = 3600 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// An event that says it happens later than this after its receipt counts at the time of its receipt.
const AHEAD_MS_MAX: i64 = HOUR_MS;
/// Rules, and arms, that tell attribution rows apart; a list has them in its own order.
const LABELS_MAX: usize = 16;
const _: () = assert!(LABELS_MAX >= EXPERIMENTS_MAX, "every experiment in force tells rows apart");
/// Strategies of one list that are told apart; the last stands for all further ones.
const STRATEGIES_MAX: usize = 32;
/// Weights of what happens to a product, by how rare it is.
const WEIGHT_VIEW: u64 = 1;
const WEIGHT_CART: u64 = 5;
const WEIGHT_PURCHASE: u64 = 25;
/// A query that found nothing weighs as much more.
const WEIGHT_LOST: u64 = 2;
/// Stands for all askers without a name: how many they are is not known, and one who repeats words must not seem to be several.
const NAMELESS: u64 = 0;

/// Everything, as of an offset.
pub(crate) struct State {
    pub(crate) config: Config,
    salt: Salt,
    /// The next entry of the log.
    pub(crate) offset: u64,
    /// Days in memory.
    pub(crate) days: BTreeMap<Date, Arc<Day>>,
    /// All kept days.
    pub(crate) totals: BTreeMap<Date, Arc<DayTotals>>,
    /// Changed since they were last made durable; a day that is no longer kept is among them too.
    pub(crate) changed: BTreeSet<Date>,
    pub(crate) join: Join,
    pub(crate) trials: Trials,
}

/// Who an event is by, as hashes: user, visitor, session, the strongest first.
type Names = Vec<u64>;

impl State {
    /// The state before the log's first entry.
    pub(crate) fn new(config: Config, salt: Salt) -> Self {
        let (days, totals, changed) = Default::default();
        Self { config, salt, offset: 0, days, totals, changed, join: Join::default(), trials: Trials::default() }
    }

    /// The day that an entry changes, which must be in memory (if it is kept at all) when the entry is applied.
    pub(crate) fn date_of(&self, entry: &Entry) -> Option<Date> {
        let (at_ms, received_at_ms) = match entry.body.as_ref()? {
            LogBody::Event(event) => (event.at_ms, event.received_at_ms),
            LogBody::Served(served) => (served.at_ms, entry.written_at_ms),
            LogBody::Erasure(_) => return None,
        };
        let late_ms_max = i64::from(self.config.late_days_max) * DAY_MS;
        let is_sane = (received_at_ms.saturating_sub(late_ms_max)..=received_at_ms.saturating_add(AHEAD_MS_MAX)).contains(&at_ms);
        Some(Date::of_ms(if is_sane { at_ms } else { received_at_ms }, self.config.utc_offset_minutes))
    }

    /// Applies the next entry. One that was applied before changes nothing.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        if entry.offset < self.offset {
            return;
        }
        self.offset = entry.offset + 1;
        let date = self.date_of(entry);
        match (&entry.body, date) {
            (Some(LogBody::Event(event)), Some(date)) => {
                let touch = self.touch(event);
                let mut day = self.take_day(date);
                self.count_event(event, &touch, Arc::make_mut(&mut day));
                self.put_day(date, day);
            }
            (Some(LogBody::Served(served)), Some(date)) => {
                let (mut day, listing) = (self.take_day(date), Listing::of(served));
                self.count_served(served, &listing, Arc::make_mut(&mut day));
                self.put_day(date, day);
                self.remember(served, listing, entry.offset);
            }
            (Some(LogBody::Erasure(erasure)), _) => {
                self.forget(erasure);
                erasure.shoppers.iter().for_each(|shopper| self.trials.erase(self.salt.of(shopper.as_str())));
            }
            _ => {}
        }
    }

    /// Applies an entry to the join alone: everything else of it is known already.
    pub(crate) fn rejoin(&mut self, entry: &Entry) {
        match &entry.body {
            Some(LogBody::Event(event)) => {
                self.touch(event);
            }
            Some(LogBody::Served(served)) => self.remember(served, Listing::of(served), entry.offset),
            Some(LogBody::Erasure(erasure)) => self.forget(erasure),
            None => {}
        }
    }

    fn take_day(&mut self, date: Date) -> Arc<Day> {
        self.changed.insert(date);
        self.days.remove(&date).unwrap_or_default()
    }

    fn put_day(&mut self, date: Date, day: Arc<Day>) {
        self.days.insert(date, day);
        if let btree_map::Entry::Vacant(vacant) = self.totals.entry(date) {
            vacant.insert(Arc::default());
            while self.totals.len() > self.config.days_max
                && let Some((oldest, _)) = self.totals.pop_first()
            {
                self.days.remove(&oldest);
                self.changed.insert(oldest);
            }
        }
    }

    /// Brings the totals of changed days up to date; for readers and before a commit.
    pub(crate) fn total_up(&mut self) {
        for (date, day) in self.changed.iter().filter_map(|date| Some((date, self.days.get(date)?))) {
            self.totals.insert(*date, Arc::new(totals(&day.counts, day.distinct())));
        }
    }

    fn names(&self, event: &Event) -> Names {
        if !event.is_personal() {
            return Vec::new();
        }
        let names = [
            event.user.as_deref().map(Shopper::user),
            event.visitor.as_deref().map(Shopper::visitor),
            event.session.as_deref().map(Shopper::session),
        ];
        names.into_iter().flatten().map(|name| self.salt.of(name.as_str())).collect()
    }

    /// What an event means for the join.
    fn touch(&mut self, event: &Event) -> Touch {
        let names = if event.is_bot { Vec::new() } else { self.names(event) };
        let mut touch = Touch { names, list: None, fresh: Vec::new(), is_first_click: false };
        let Some(token) = event.attribution_token.as_deref().filter(|_| !event.is_bot) else { return touch };
        let Some(number) = self.join.of_token(self.salt.of(token)) else { return touch };
        touch.list = Some(number);
        self.join.link(number, &touch.names);
        let mark = match event.kind {
            EventKind::Impression => Mark::Seen,
            // A product page that was come to with a token was come to by a click.
            EventKind::Click | EventKind::View => Mark::Clicked,
            EventKind::AddToCart | EventKind::Purchase => Mark::Taken,
            _ => return touch,
        };
        let products: Vec<u64> = event.items.iter().map(|item| fnv(item.product.as_str())).collect();
        let (fresh, was_unclicked) = self.join.mark(number, &products, mark, event.at_ms);
        touch.is_first_click = mark == Mark::Clicked && was_unclicked && !fresh.is_empty();
        touch.fresh = if mark == Mark::Taken { Vec::new() } else { fresh };
        touch
    }

    fn count_event(&mut self, event: &Event, touch: &Touch, day: &mut Day) {
        if event.is_bot {
            day.counts.bot_events += 1;
            return;
        }
        day.counts.event(event.kind);
        if let Some(shopper) = touch.names.first() {
            day.visitor(*shopper);
        }
        if let Some(session) = event.session.as_deref().filter(|_| event.is_personal()) {
            day.session(self.salt.of(session));
        }
        self.count_touch(event.kind, touch, day);
        match event.kind {
            EventKind::Search => self.count_search(event, touch, day),
            EventKind::View => event.items.iter().for_each(|item| self.product(day, item, WEIGHT_VIEW).view()),
            EventKind::Click => event.items.iter().for_each(|item| self.product(day, item, WEIGHT_VIEW).clicks += 1),
            EventKind::AddToCart => self.count_cart(event, touch, day),
            EventKind::Purchase => self.count_purchase(event, touch, day),
            EventKind::Refund => {
                day.counts.refunds += 1;
                paid(event).into_iter().for_each(|money| day.counts.refunded.add(money));
            }
            _ => {}
        }
    }

    /// Counts what was seen or clicked in a list for the first time.
    fn count_touch(&mut self, kind: EventKind, touch: &Touch, day: &mut Day) {
        let Some(list) = touch.list.and_then(|number| self.join.list(number)).filter(|_| !touch.fresh.is_empty()) else { return };
        let is_click = kind != EventKind::Impression;
        for row in touch.fresh.iter().filter_map(|at| list.row(*at)) {
            let counts = day.row(row, &self.config);
            *(if is_click { &mut counts.clicks } else { &mut counts.impressions }) += 1;
        }
        if touch.is_first_click && list.query.is_some() {
            day.counts.clicked += 1;
            if let Some(query) = list.words.as_deref().and_then(|words| day.queries.get_mut(words)) {
                query.clicked += 1;
            }
        }
        let what = if is_click { Happened::Clicked } else { Happened::Seen };
        if let (Some(shopper), Some(row)) = (list.exposed, list.rows.first()) {
            self.trials.shown(&row.arms, shopper, what, touch.fresh.len() as u32);
        }
    }

    /// A search that the shop reports: it counts unless it is one that was answered here.
    fn count_search(&self, event: &Event, touch: &Touch, day: &mut Day) {
        let Some(words) = event.query.as_deref().map(plain).filter(|words| !words.is_empty()) else { return };
        let is_answered = touch.list.and_then(|number| self.join.list(number)).is_some_and(|list| list.query.is_some());
        if is_answered || self.join.asked(&touch.names, self.salt.of(&words), event.at_ms) {
            return;
        }
        self.count_words(day, &words, &touch.names, event.results == Some(0));
    }

    fn count_words(&self, day: &mut Day, words: &str, askers: &Names, is_lost: bool) {
        day.counts.searches += 1;
        day.counts.lost_searches += u64::from(is_lost);
        let query = day.queries.bump(words, if is_lost { WEIGHT_LOST } else { 1 }, self.config.queries_max);
        query.searches += 1;
        query.without_results += u64::from(is_lost);
        query.ask(askers.first().copied().unwrap_or(NAMELESS));
    }

    fn count_cart(&self, event: &Event, touch: &Touch, day: &mut Day) {
        for item in &event.items {
            self.product(day, item, WEIGHT_CART).add_to_cart();
            if let Some(credit) = self.credit(event, touch, item).filter(|credit| credit.is_click) {
                day.row(&credit.row, &self.config).add_to_carts += 1;
            }
        }
    }

    fn count_purchase(&mut self, event: &Event, touch: &Touch, day: &mut Day) {
        let is_new_order = day.order(self.salt.of(event.order.as_deref().unwrap_or(&event.id)));
        if let Some(shopper) = touch.names.first() {
            day.buyer(*shopper);
        }
        // Each event of a long order may tell the whole order's value.
        let paid = if is_new_order || event.items.iter().any(|item| item.price.is_some()) { paid(event) } else { Vec::new() };
        paid.iter().for_each(|money| day.counts.revenue.add(*money));
        for item in &event.items {
            let (units, paid) = (u64::from(item.quantity), item_paid(item));
            day.counts.units += units;
            let product = self.product(day, item, WEIGHT_PURCHASE);
            product.purchases += 1;
            product.units += units;
            paid.iter().for_each(|money| product.revenue.add(*money));
            let Some(credit) = self.credit(event, touch, item) else { continue };
            let counts = day.row(&credit.row, &self.config);
            if !credit.is_click {
                counts.view_purchases += 1;
                paid.iter().for_each(|money| counts.view_revenue.add(*money));
                continue;
            }
            counts.purchases += 1;
            counts.units += units;
            paid.iter().for_each(|money| counts.revenue.add(*money));
            paid.iter().for_each(|money| day.counts.attributed.add(*money));
            if !credit.is_search {
                paid.iter().for_each(|money| day.counts.recommended.add(*money));
            }
        }
        self.trials.bought(&touch.names, event.at_ms, &paid);
    }

    fn credit(&self, event: &Event, touch: &Touch, item: &EventItem) -> Option<Credit> {
        let windows = Windows {
            click_ms: i64::from(self.config.click_window_hours) * HOUR_MS,
            view_ms: i64::from(self.config.view_window_hours) * HOUR_MS,
        };
        self.join.credit(&touch.names, fnv(item.product.as_str()), event.at_ms, touch.list, windows)
    }

    fn product<'a>(&self, day: &'a mut Day, item: &EventItem, weight: u64) -> &'a mut crate::logic::day::ProductCounts {
        day.products.bump(item.product.as_str(), weight, self.config.products_max)
    }

    fn count_served(&mut self, served: &Served, listing: &Listing, day: &mut Day) {
        day.counts.lists += 1;
        for item in &served.items {
            if let Some(product) = day.products.get_mut(item.product.as_str()) {
                product.list();
            }
        }
        for (at, row) in listing.rows.iter().enumerate() {
            let of_row = listing.places.iter().filter(|place| usize::from(**place) == at).count();
            day.row(row, &self.config).served += of_row as u64;
        }
        let shopper = served.shopper.as_ref().map(|shopper| self.salt.of(shopper.as_str()));
        if let Some(words) = served.query.as_deref().map(plain).filter(|words| !words.is_empty()) {
            let names = self.served_names(served);
            if !self.join.asked(&names, self.salt.of(&words), served.at_ms) {
                self.count_words(day, &words, &names, served.items.is_empty());
            }
            day.counts.answered += 1;
            if let Some(query) = day.queries.get_mut(&words) {
                query.answered += 1;
            }
        } else if self.config.photo_placements.contains(&served.placement) {
            day.counts.searches += 1;
            if served.items.is_empty() {
                day.counts.lost_searches += 1;
                day.counts.lost_photo(&served.placement);
            }
        }
        if let Some(shopper) = shopper {
            self.trials.expose(&listing.arms, shopper, served.at_ms, &self.config);
            self.trials.shown(&listing.arms, shopper, Happened::Served, served.items.len() as u32);
        }
    }

    fn served_names(&self, served: &Served) -> Names {
        let session = served.session.as_deref().map(Shopper::session);
        let mut names: Names = served.shopper.iter().chain(&session).map(|name| self.salt.of(name.as_str())).collect();
        names.dedup();
        names
    }

    /// Takes a list into the join.
    fn remember(&mut self, served: &Served, listing: Listing, offset: u64) {
        let products = served.items.iter().zip(listing.places).map(|(item, row)| (fnv(item.product.as_str()), row));
        let mut list = List::new(offset, self.salt.of(&served.token), served.at_ms, listing.rows, products);
        list.words = served.query.as_deref().map(plain).filter(|words| !words.is_empty()).map(Arc::from);
        list.query = list.words.as_deref().map(|words| self.salt.of(words));
        list.exposed = served.shopper.as_ref().map(|shopper| self.salt.of(shopper.as_str()));
        let names = self.served_names(served);
        self.join.push(list, &names, self.config.join_items_max);
    }

    fn marks(&self, erasure: &Erasure) -> Vec<u32> {
        erasure.shoppers.iter().map(|shopper| mark(self.salt.of(shopper.as_str()))).collect()
    }

    /// Whether these shoppers asked any of the queries.
    pub(crate) fn has_askers(&self, queries: &Top<QueryCounts>, erasure: &Erasure) -> bool {
        let marks = self.marks(erasure);
        queries.iter().any(|(_, query)| query.askers.iter().any(|asker| marks.contains(asker)))
    }

    /// Takes words that nobody but these shoppers searched for out of a day in memory. Whether there were any.
    pub(crate) fn forget_words(&mut self, date: Date, erasure: &Erasure) -> bool {
        let marks = self.marks(erasure);
        let is_theirs = |asker: &u32| marks.contains(asker);
        let Some(day) = self.days.get(&date) else { return false };
        if !self.has_askers(&day.queries, erasure) {
            return false;
        }
        let Some(day) = self.days.get_mut(&date) else { return false };
        Arc::make_mut(day).queries.retain(|query| {
            let was_asked = !query.askers.is_empty();
            query.askers.retain(|asker| !is_theirs(asker));
            !was_asked || !query.askers.is_empty()
        });
        self.changed.insert(date);
        true
    }

    fn forget(&mut self, erasure: &Erasure) {
        erasure.shoppers.iter().for_each(|shopper| self.join.erase(self.salt.of(shopper.as_str())));
    }
}

/// What an event did to the join.
struct Touch {
    names: Names,
    /// The list that it named.
    list: Option<u64>,
    /// Places of that list that were seen or clicked for the first time.
    fresh: Vec<usize>,
    is_first_click: bool,
}

fn labels<T: Clone + Ord>(labels: &[T]) -> Vec<T> {
    let mut labels: Vec<T> = labels.iter().take(LABELS_MAX).cloned().collect();
    labels.sort();
    labels.dedup();
    labels
}

/// Where a list is counted.
struct Listing {
    /// Each item's place among the rows.
    places: Vec<u8>,
    /// One a strategy.
    rows: Vec<Arc<RowKey>>,
    arms: Vec<(String, String)>,
}

impl Listing {
    fn of(served: &Served) -> Self {
        let (rules, arms) = (labels(&served.rules), labels(&served.experiments));
        let row = |strategy: &str| {
            let (placement, strategy) = (served.placement.clone(), strategy.to_owned());
            Arc::new(RowKey { placement, strategy, rules: rules.clone(), arms: arms.clone() })
        };
        let mut rows: Vec<Arc<RowKey>> = Vec::new();
        let mut places = Vec::with_capacity(served.items.len());
        for item in &served.items {
            let known = rows.iter().position(|row| row.strategy == item.strategy);
            let at = known.unwrap_or_else(|| {
                if rows.len() < STRATEGIES_MAX {
                    rows.push(row(&item.strategy));
                }
                rows.len() - 1
            });
            places.push(at as u8);
        }
        Self { places, rows, arms }
    }
}

fn item_paid(item: &EventItem) -> Option<Money> {
    let price = item.price?;
    Some(Money { amount_e4: price.amount_e4.saturating_mul(i64::from(item.quantity)), ..price })
}

/// What an event says was paid, or given back: by its items where any has a price, else its value.
fn paid(event: &Event) -> Vec<Money> {
    let items: Vec<Money> = event.items.iter().filter_map(item_paid).collect();
    if items.is_empty() { event.value.into_iter().collect() } else { protocol::reports::sum(&items) }
}
