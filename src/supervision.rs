//! The supervision tree: owners of data first, then derived state, then the doors. Each group restarts its own; a group
//! that gives up is restarted as a whole, and a root that gives up ends the process, which the service manager starts anew.

use kit::{Board, ChildSpec, RestartPolicy, Strategy, SupervisorArgs};
use protocol::gateway::GatewayMsg;

use crate::wiring::Addresses;

/// What each actor starts with.
#[derive(Clone)]
pub struct Casts {
    /// Registry and configuration.
    pub wayne: registry::Args,
    /// Products.
    pub watchtower: catalog::Args,
    /// Availability.
    pub flash: session::Args,
    /// Routing and queues.
    pub gordon: queue::Args,
    /// Search.
    pub batman: search::Args,
    /// The event log's order.
    pub alfred: archive::Args,
    /// Recommendations.
    pub superman: recommend::Args,
    /// The shopper's own order.
    pub two_face: personalize::Args,
    /// Reports.
    pub mocha: reports::Args,
    /// Embeddings.
    pub nightwing: vision::Args,
    /// Feeds.
    pub joker: ingest::Args,
    /// HTTP; none where the house works for the command line alone.
    pub robin: Option<gateway::Args>,
}

/// Builds the tree's root: started in this order, stopped in the reverse one.
pub fn tree(addresses: &Addresses, casts: Casts, board: &Board) -> SupervisorArgs {
    let Casts { wayne, watchtower, flash, gordon, batman, alfred, superman, two_face, mocha, nightwing, joker, robin } = casts;
    let owners = vec![
        ChildSpec::actor(&addresses.wayne, "configuration and registry", move || (registry::Wayne, wayne.clone())),
        ChildSpec::actor(&addresses.watchtower, "products", move || (catalog::Watchtower, watchtower.clone())),
        ChildSpec::actor(&addresses.gordon, "routing and queues", move || (queue::Gordon, gordon.clone())),
    ];
    let derived = vec![
        ChildSpec::actor(&addresses.flash, "price, availability and sessions", move || (session::Flash, flash.clone())),
        ChildSpec::actor(&addresses.batman, "search", move || (search::Batman, batman.clone())),
        ChildSpec::actor(&addresses.alfred, "the event log's order", move || (archive::Alfred, alfred.clone())),
        ChildSpec::actor(&addresses.superman, "recommendations", move || (recommend::Superman, superman.clone())),
        ChildSpec::actor(&addresses.two_face, "shoppers' profiles", move || (personalize::TwoFace, two_face.clone())),
        ChildSpec::actor(&addresses.mocha, "reports", move || (reports::Mocha, mocha.clone())),
        ChildSpec::actor(&addresses.nightwing, "pictures and texts to vectors", move || (vision::Nightwing, nightwing.clone())),
    ];
    let mut doors = vec![ChildSpec::actor(&addresses.joker, "feeds", move || (ingest::Joker, joker.clone()))];
    doors.extend(robin.map(|robin| gate(addresses, robin)));
    let group = |name, job, children| {
        let policy = RestartPolicy { strategy: Strategy::OneForOne, ..RestartPolicy::default() };
        ChildSpec::group(name, job, SupervisorArgs { children, policy, board: board.clone() })
    };
    let children = vec![
        group("owners", "owners of data", owners),
        group("derived", "state that can be rebuilt", derived),
        group("doors", "what comes in", doors),
    ];
    // What stands above builds on what stands below: when a whole group had to be given up, those after it start afresh too.
    let policy = RestartPolicy { strategy: Strategy::RestForOne, restarts_max: 3, ..RestartPolicy::default() };
    SupervisorArgs { children, policy, board: board.clone() }
}

fn gate(addresses: &Addresses, robin: gateway::Args) -> ChildSpec {
    ChildSpec::actor::<gateway::Robin, GatewayMsg>(&addresses.robin, "HTTP", move || (gateway::Robin, robin.clone()))
}
