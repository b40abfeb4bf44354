//! `gotham serve`: the appliance until it is told to stop.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::{Common, Failure, Outcome};
use crate::house::{House, HouseArgs};
use crate::watchdog::notify;

/// How often a starting house is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(5);

pub(super) async fn serve(common: &Common) -> Outcome {
    let loaded = common.load()?;
    let house = open(common, loaded, true).await?;
    let address = house.listening_on();
    wait_until_ready(&house).await;
    tracing::info!(%address, "ready");
    common.output().result(&serde_json::json!({"listening": address.to_string()}), || format!("listening on http://{address}"));
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    until_told(house).await
}

/// Opens the data folder and starts the house; with `has_gateway` it listens.
pub(super) async fn open(common: &Common, loaded: registry::Loaded<crate::config::Config>, has_gateway: bool) -> Result<House, Failure> {
    let args = HouseArgs { loaded, data_dir: common.data_dir(), models_dir: common.models_dir(), has_gateway };
    House::start(args).await.map_err(|error| Failure::new(if error.is_usage() { Failure::USAGE } else { Failure::DATA }, error))
}

/// Resolves when every part is ready to serve.
pub(super) async fn wait_until_ready(house: &House) {
    while !house.not_ready().is_empty() {
        tokio::time::sleep(READY_POLL).await;
    }
}

/// Serves until SIGTERM or SIGINT (then ends in order) or until the tree of actors has given up (then fails).
pub(super) async fn until_told(mut house: House) -> Outcome {
    let watchdog = tokio::spawn(house.watched().run());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let has_failed = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = house.failed() => true,
    };
    notify(&[NotifyState::Stopping]);
    watchdog.abort();
    if has_failed {
        return Err(Failure::new(Failure::FAILED, "actors failed too often; ending so that the service manager starts the process anew"));
    }
    tracing::info!("stopping");
    house.shut_down().await;
    Ok(())
}
