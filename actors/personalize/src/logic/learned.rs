//! What is learned of the shop and of lists, changed by one deed or one list at a time, and its form as a stream of bytes.

use std::io::{Read, Write};

use domain::ProductId;
use taste::{Action, Bandit, Event, Id, Learner, Lists, Origin, Page, Profile, SaveError, Saved, Shop, Shown};

use super::names::Names;

const MAGIC: [u8; 8] = *b"twoface\x01";
/// The longest id, in bytes: 128 characters.
const NAME_BYTES_MAX: usize = 4 * domain::product::PRODUCT_ID_CHARS_MAX;

/// What one shopper did to one product.
pub(crate) struct Deed<'a> {
    pub(crate) event: Event<'a>,
    pub(crate) product: &'a ProductId,
    pub(crate) origin: Origin,
}

/// Everything that is not one shopper's alone, and the lists under way.
#[derive(Clone, Debug)]
pub(crate) struct Learned {
    pub(crate) shop: Shop,
    pub(crate) learner: Learner,
    pub(crate) bandit: Bandit,
    pub(crate) lists: Lists,
    pub(crate) names: Names,
}

impl Learned {
    /// Nothing yet.
    pub(crate) fn new(names_max: usize) -> Self {
        let Saved { shop, learner, bandit } = Saved::default();
        Self { shop, learner, bandit, lists: Lists::default(), names: Names::new(names_max) }
    }

    /// Takes in what a shopper did.
    pub(crate) fn apply(&mut self, profile: &mut Profile, deed: &Deed) {
        let step = profile.apply(&deed.event, &self.shop);
        self.shop.apply(&deed.event, &step);
        if deed.event.action == Action::Purchase {
            self.names.add(deed.event.item, deed.product);
        }
        let Some(joined) = self.lists.learn(&deed.event, &deed.origin, &mut self.learner) else { return };
        if let Some(arm) = self.lists.first_choice_of(&joined) {
            self.bandit.clicked(joined.surface, arm);
        }
    }

    /// Takes in a list that was shown in the order of the page; `arms` are the strategies of its items. A strategy counts once a list,
    /// however many items it fills.
    pub(crate) fn show(&mut self, shown: Shown, page: &Page, arms: &[Id]) {
        for (at, arm) in arms.iter().enumerate() {
            if !arms[..at].contains(arm) {
                self.bandit.shown(shown.surface, *arm);
            }
        }
        self.lists.show_by(shown, page, 0..page.items.len(), |at| arms.get(at).copied());
    }

    /// Writes the stream. Equal histories give equal bytes.
    pub(crate) fn save(&self, to: &mut impl Write) -> Result<(), SaveError> {
        to.write_all(&MAGIC)?;
        taste::save(&self.shop, &self.learner, &self.bandit, to)?;
        self.lists.save(to)?;
        for generation in self.names.generations() {
            to.write_all(&(generation.len() as u64).to_le_bytes())?;
            for product in generation {
                to.write_all(&(product.as_str().len() as u16).to_le_bytes())?;
                to.write_all(product.as_str().as_bytes())?;
            }
        }
        Ok(())
    }

    /// Reads what [`Learned::save`] wrote, to its last byte.
    pub(crate) fn load(from: &mut impl Read, names_max: usize) -> Result<Self, SaveError> {
        if bytes::<8>(from)? != MAGIC {
            return Err(SaveError::Magic);
        }
        let Saved { shop, learner, bandit } = Saved::load(from)?;
        let lists = Lists::load(from)?;
        let mut names = Names::new(names_max);
        names.restore([generation(from)?, generation(from)?]);
        match from.read(&mut [0])? {
            0 => Ok(Self { shop, learner, bandit, lists, names }),
            _ => Err(SaveError::Damaged("bytes behind the end")),
        }
    }
}

fn generation(from: &mut impl Read) -> Result<Vec<ProductId>, SaveError> {
    let count = u64::from_le_bytes(bytes(from)?);
    let mut products = Vec::new();
    for _ in 0..count {
        let length = usize::from(u16::from_le_bytes(bytes(from)?));
        if length > NAME_BYTES_MAX {
            return Err(SaveError::Damaged("an id is too long"));
        }
        let mut name = vec![0; length];
        from.read_exact(&mut name)?;
        let product = String::from_utf8(name).ok().and_then(|name| name.parse().ok());
        products.push(product.ok_or(SaveError::Damaged("an id"))?);
    }
    Ok(products)
}

fn bytes<const LENGTH: usize>(from: &mut impl Read) -> Result<[u8; LENGTH], SaveError> {
    let mut bytes = [0; LENGTH];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use taste::{Ask, Candidate, Facts};

    use super::super::ids::id;
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn deed(item: Id, action: Action, product: &ProductId) -> Deed<'_> {
        let event = Event { action, item, at_ms: NOW + 5, store: None, facts: Facts::default() };
        Deed { event, product, origin: Origin { shopper: 7, session: None, token: Some(1) } }
    }

    fn learned() -> Learned {
        let (mut learned, mut profile) = (Learned::new(100), Profile::default());
        let product: ProductId = "p".parse().expect("an id");
        let bought = id(product.as_str());
        let candidates = [10, 11, bought, 13, 14].map(|item| Candidate { item, score: None });
        let ask = Ask { at_ms: NOW, store: None, candidates: &candidates };
        let page = Page::new(&profile, &learned.shop, &ask, |_| Facts::default());
        learned.show(Shown { token: 1, shopper: 7, session: None, surface: 3, at_ms: NOW }, &page, &[50, 50, 60, 60, 60]);
        for (item, action) in [(bought, Action::Click), (13, Action::Click), (10, Action::View), (bought, Action::Purchase)] {
            learned.apply(&mut profile, &deed(item, action, &product));
        }
        learned
    }

    #[test]
    fn a_strategy_is_shown_once_and_clicked_once_a_list() {
        let learned = learned();
        assert_eq!((learned.bandit.counts(3, 50), learned.bandit.counts(3, 60)), ((1, 0), (1, 1)));
        assert_eq!(learned.learner.choices(), 2, "a second choice of one item teaches nothing, a view is no choice");
    }

    #[test]
    fn the_stream_comes_back_and_damage_is_an_error() {
        let (learned, mut bytes) = (learned(), Vec::new());
        learned.save(&mut bytes).expect("memory takes it");
        let again = Learned::load(&mut bytes.as_slice(), 100).expect("its own stream");
        let mut other = Vec::new();
        again.save(&mut other).expect("memory takes it");
        assert!(bytes == other && again.names == learned.names && again.shop == learned.shop);
        assert!(Learned::load(&mut [&bytes[..], b"x"].concat().as_slice(), 100).is_err());
        for end in 0..bytes.len() {
            assert!(Learned::load(&mut &bytes[..end], 100).is_err(), "cut at {end}");
        }
    }
}
