//! What every actor stands on: addresses that survive a restart, calls with a deadline, supervision, worker threads,
//! the clock, and probes for tests. Names nothing of the product.

pub mod address;
pub mod board;
pub mod clock;
pub mod context;
pub mod progress;
pub mod scene;
pub mod supervisor;
pub mod wake;
pub mod worker;

pub use address::{Address, CallError, Mail, Reply};
pub use board::{ActorState, ActorStatus, Board};
pub use clock::{Clock, ManualClock, SystemClock};
pub use context::{Context, Priority, RequestId};
pub use progress::Progress;
pub use scene::{Probe, Scene};
pub use supervisor::{ChildSpec, RestartPolicy, Strategy, Supervisor, SupervisorArgs, Tree};
pub use wake::{TaskGuard, send_to_self, wake};
pub use worker::{WorkError, Workers};
