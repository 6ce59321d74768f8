//! Standing by: a daemon without a rank offers itself to the monitor until it is told whose place to
//! take, and takes it.

use std::path::PathBuf;
use std::time::Duration;

use common::id::Slot;
use common::limit::BEACON;
use common::wire::monitor::{Appointment, FromMonitor, StandBy, ToMonitor};
use quinn::{Endpoint, VarInt};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{info, warn};
use transport::hello::Greeted;

use crate::config::mds::MdsConfig;
use crate::owner::{self, Claim};
use crate::transport::monitor::{LinkError, connect};

const RETRY: Duration = Duration::from_millis(300);

/// A data directory to begin with.
#[derive(Debug)]
pub struct Seat {
    pub dir: PathBuf,
    pub claim: Claim,
    /// Of a store that was taken over.
    pub slot: Option<Slot>,
}

/// Until there is a store to take over, and it is ours.
///
/// # Errors
/// The monitor will not talk to us.
pub async fn wait_for_seat(
    config: &MdsConfig,
    endpoint: &Endpoint,
    mut failed: Option<Slot>,
) -> Result<Seat, LinkError> {
    info!(name = config.name, "standing by");
    let mut silent = false;
    loop {
        let error = match offer(config, endpoint, &mut failed).await {
            Ok(order) => match take(config, &order).await {
                Some(seat) => return Ok(seat),
                None => {
                    failed = Some(order.slot);
                    continue;
                }
            },
            Err(error) => error,
        };
        if error.is_final() {
            return Err(error);
        }
        if !silent {
            warn!(monitor = %config.monitor, %error, "no monitor; trying on");
            silent = true;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Says that we are there, every second, until we are told what to do.
async fn offer(
    config: &MdsConfig,
    endpoint: &Endpoint,
    failed: &mut Option<Slot>,
) -> Result<Appointment, LinkError> {
    let (connection, greeted) =
        connect(endpoint, config.monitor, config.cluster, &config.name).await?;
    let Greeted { mut send, mut recv, .. } = greeted;
    let mut beats = interval_at(Instant::now(), BEACON);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    let order = loop {
        tokio::select! {
            _ = beats.tick() => {
                number += 1;
                let word = StandBy {
                    daemon: config.name.clone(),
                    machine: owner::machine(),
                    reaches: config.shared_dirs(),
                    failed: failed.take(),
                    number,
                };
                send.send(&ToMonitor::StandBy(word)).await?;
            }
            answer = recv.next::<FromMonitor>() => {
                match answer?.ok_or(LinkError::Ended)? {
                    FromMonitor::TakeOver(order) => break order,
                    FromMonitor::Refused(error) => return Err(LinkError::Refused(error)),
                    FromMonitor::StandByAck { .. }
                    | FromMonitor::Map(_)
                    | FromMonitor::BeaconAck { .. }
                    | FromMonitor::Slot { .. }
                    | FromMonitor::Done
                    | FromMonitor::Description(_) => {}
                }
            }
        }
    };
    connection.close(VarInt::from_u32(0), b"appointed");
    Ok(order)
}

async fn take(config: &MdsConfig, order: &Appointment) -> Option<Seat> {
    let dir = PathBuf::from(&order.path);
    info!(rank = order.rank.0, dir = order.path, "told to take over");
    match owner::seize(&dir, &config.name, order).await {
        Ok(claim) => Some(Seat { dir, claim, slot: Some(order.slot) }),
        Err(error) => {
            warn!(rank = order.rank.0, %error, "cannot take over; standing by");
            tokio::time::sleep(RETRY).await;
            None
        }
    }
}
