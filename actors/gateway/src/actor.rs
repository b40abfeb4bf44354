//! Robin's shell: guards the accept loop. The listening socket is passed in, so callers wait in the kernel's queue while Robin
//! restarts, and requests under way are answered all the same.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use kit::{Mail, TaskGuard};
use protocol::gateway::GatewayMsg;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::house::House;
use crate::routes::{self, App};
use crate::serve::{DrainOrder, serve};
use crate::upload;

/// What survives a restart.
#[derive(Clone)]
pub struct Args {
    /// Robin's settings.
    pub config: Config,
    /// The neighbours.
    pub house: House,
    /// The open port; see [`bind`].
    pub listener: Arc<StdListener>,
}

/// Opens the port.
pub fn bind(config: &Config) -> std::io::Result<Arc<StdListener>> {
    let listener = StdListener::bind(config.listen)?;
    listener.set_nonblocking(true)?;
    Ok(Arc::new(listener))
}

/// The gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Robin;

/// What a restart cures.
pub struct State {
    drain: Option<oneshot::Sender<DrainOrder>>,
    accepting: Option<TaskGuard>,
}

impl Actor for Robin {
    type Msg = Mail<GatewayMsg>;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let Args { config, house, listener } = args;
        let (spool, age_min) = (house.spool.clone(), Duration::from_millis(config.bulk_timeout_ms));
        tokio::task::spawn_blocking(move || upload::sweep(&spool, age_min)).await??;
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = routes::router(App::new(config.clone(), house));
        let (drain, order) = oneshot::channel();
        let accepting = tokio::spawn(async move {
            let ended = tokio::spawn(serve(listener, router, config, order));
            let abort = AbortOnDrop(ended.abort_handle());
            if let Err(error) = ended.await {
                kit::send_to_self(&myself, protocol::gateway::NAME, GatewayMsg::AcceptEnded(error.to_string()));
            }
            drop(abort);
        });
        Ok(State { drain: Some(drain), accepting: Some(TaskGuard::new(accepting)) })
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, mail: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Some((_, message)) = mail.open() else { return Ok(()) };
        match message {
            GatewayMsg::Drain { timeout, reply } => match state.drain.take() {
                // The loop ends itself and answers; its guard must not cut it short, so Robin stays until it is stopped.
                Some(drain) => {
                    if let Err((_, reply)) = drain.send((timeout, reply)) {
                        reply.send(0);
                    }
                }
                None => reply.send(0),
            },
            GatewayMsg::AcceptEnded(error) => return Err(format!("the accept loop ended: {error}").into()),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.accepting = None;
        Ok(())
    }
}

/// The inner task carries the loop so that its panic is seen; it must not outlive the outer one.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
