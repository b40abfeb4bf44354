//! Who stands where in the house, and who calls whom. Calls go down, casts and journal entries go up: a handler awaits only
//! actors below its own, so no ring of waiting can form.

use protocol::archive::ArchiveMsg;
use protocol::catalog::CatalogMsg;
use protocol::gateway::GatewayMsg;
use protocol::ingest::IngestMsg;
use protocol::personalize::PersonalizeMsg;
use protocol::queue::QueueMsg;
use protocol::recommend::RecommendMsg;
use protocol::registry::RegistryMsg;
use protocol::reports::ReportsMsg;
use protocol::search::SearchMsg;
use protocol::session::SessionMsg;
use protocol::vision::VisionMsg;

use kit::Address;

/// The actors from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// HTTP.
    Robin,
    /// Feeds.
    Joker,
    /// Reports.
    Mocha,
    /// The shopper's own order.
    TwoFace,
    /// Recommendations.
    Superman,
    /// Embeddings.
    Nightwing,
    /// Search.
    Batman,
    /// Routing and queues.
    Gordon,
    /// Availability, sessions.
    Flash,
    /// The event log's order.
    Alfred,
    /// Products.
    Watchtower,
    /// Registry and configuration.
    Wayne,
}

/// Every edge on which somebody waits for an answer, or sends: caller and callee.
pub const CALLS: [(Layer, Layer); 8] = [
    (Layer::Robin, Layer::Wayne),
    (Layer::Robin, Layer::Joker),
    (Layer::Robin, Layer::Nightwing),
    (Layer::Robin, Layer::Gordon),
    (Layer::Robin, Layer::Watchtower),
    (Layer::Joker, Layer::Gordon),
    (Layer::Nightwing, Layer::Gordon),
    (Layer::Gordon, Layer::Watchtower),
];

/// Nightwing's vectors go down to Batman's indexer.
pub const FEEDS: [(Layer, Layer); 1] = [(Layer::Nightwing, Layer::Batman)];

const _: () = assert!(go_down(&CALLS) && go_down(&FEEDS), "a call must go down the house");

const fn go_down(edges: &[(Layer, Layer)]) -> bool {
    let mut at = 0;
    while at < edges.len() {
        if edges[at].0 as u8 >= edges[at].1 as u8 {
            return false;
        }
        at += 1;
    }
    true
}

/// Messages that may wait in one actor's mailbox: enough for a burst, few enough to notice.
const MAILBOX_DEPTH_MAX: usize = 1_024;

/// Everybody's address; valid for the life of the process.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// HTTP.
    pub robin: Address<GatewayMsg>,
    /// Feeds.
    pub joker: Address<IngestMsg>,
    /// Reports.
    pub mocha: Address<ReportsMsg>,
    /// The shopper's own order.
    pub two_face: Address<PersonalizeMsg>,
    /// Recommendations.
    pub superman: Address<RecommendMsg>,
    /// Embeddings.
    pub nightwing: Address<VisionMsg>,
    /// Search.
    pub batman: Address<SearchMsg>,
    /// Routing and queues.
    pub gordon: Address<QueueMsg>,
    /// Availability.
    pub flash: Address<SessionMsg>,
    /// The event log's order.
    pub alfred: Address<ArchiveMsg>,
    /// Products.
    pub watchtower: Address<CatalogMsg>,
    /// Registry and configuration.
    pub wayne: Address<RegistryMsg>,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            robin: Address::new(protocol::gateway::NAME, MAILBOX_DEPTH_MAX),
            joker: Address::new(protocol::ingest::NAME, MAILBOX_DEPTH_MAX),
            mocha: Address::new(protocol::reports::NAME, MAILBOX_DEPTH_MAX),
            two_face: Address::new(protocol::personalize::NAME, MAILBOX_DEPTH_MAX),
            superman: Address::new(protocol::recommend::NAME, MAILBOX_DEPTH_MAX),
            nightwing: Address::new(protocol::vision::NAME, MAILBOX_DEPTH_MAX),
            batman: Address::new(protocol::search::NAME, MAILBOX_DEPTH_MAX),
            gordon: Address::new(protocol::queue::NAME, MAILBOX_DEPTH_MAX),
            flash: Address::new(protocol::session::NAME, MAILBOX_DEPTH_MAX),
            alfred: Address::new(protocol::archive::NAME, MAILBOX_DEPTH_MAX),
            watchtower: Address::new(protocol::catalog::NAME, MAILBOX_DEPTH_MAX),
            wayne: Address::new(protocol::registry::NAME, MAILBOX_DEPTH_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    const CRATES: [(&str, Layer, &str); 12] = [
        ("gateway", Layer::Robin, "Address<GatewayMsg>"),
        ("ingest", Layer::Joker, "Address<IngestMsg>"),
        ("reports", Layer::Mocha, "Address<ReportsMsg>"),
        ("personalize", Layer::TwoFace, "Address<PersonalizeMsg>"),
        ("recommend", Layer::Superman, "Address<RecommendMsg>"),
        ("archive", Layer::Alfred, "Address<ArchiveMsg>"),
        ("vision", Layer::Nightwing, "Address<VisionMsg>"),
        ("search", Layer::Batman, "Address<SearchMsg>"),
        ("queue", Layer::Gordon, "Address<QueueMsg>"),
        ("session", Layer::Flash, "Address<SessionMsg>"),
        ("catalog", Layer::Watchtower, "Address<CatalogMsg>"),
        ("registry", Layer::Wayne, "Address<RegistryMsg>"),
    ];

    fn text_of(folder: &Path) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(folder).expect("readable").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                text += &text_of(&entry);
            } else if !entry.ends_with("tests.rs") && !entry.to_string_lossy().contains("/tests/") {
                text += fs::read_to_string(&entry).unwrap_or_default().split("#[cfg(test)]").next().unwrap_or_default();
            }
        }
        text
    }

    /// An actor can only call those whose addresses its crate names: these are the declared edges and no others.
    #[test]
    fn the_addresses_that_each_crate_names_are_the_declared_edges() {
        let mut found = BTreeSet::new();
        for (folder, caller, own) in CRATES {
            let text = text_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("actors").join(folder).join("src"));
            let callees = CRATES.iter().filter(|(_, _, address)| *address != own && text.contains(address));
            found.extend(callees.map(|(_, callee, _)| (caller, *callee)));
        }
        let declared: BTreeSet<(Layer, Layer)> = CALLS.into_iter().chain(FEEDS).collect();
        assert_eq!(found, declared);
    }
}
