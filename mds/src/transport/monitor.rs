//! The way to the monitor, on a thread and runtime of its own: beacons go out however busy the core
//! is, and say how far it has come.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as StdInstant};

use common::id::{ClusterId, Incarnation, MapEpoch, Rank, Slot};
use common::limit::BEACON;
use common::mds_map::{MdsMap, RankState};
use common::wire::hello::{Hello, Identity};
use common::wire::monitor::{Beacon, FromMonitor, MonitorError, StorePlace, ToMonitor};
use mds_core::Input;
use quinn::{Connection, Endpoint, VarInt};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{info, warn};
use transport::hello::{self, Greeted, HelloError};
use transport::{DialError, FrameError, Role, dial};

use crate::inbox::Inbox;
use crate::leash::Holder;

const RETRY: Duration = Duration::from_millis(300);

/// What beacons say of this daemon.
#[derive(Clone, Debug)]
pub struct Myself {
    pub name: String,
    pub cluster: ClusterId,
    pub slot: Slot,
    pub incarnation: Incarnation,
    pub addr: SocketAddr,
    /// Where a successor would find the store.
    pub place: StorePlace,
}

/// The stage of life the core wants next; `Down` when the daemon leaves.
#[derive(Clone, Debug)]
pub struct Wishes(Arc<watch::Sender<RankState>>);

impl Wishes {
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<RankState>) {
        let (wishes, wished) = watch::channel(RankState::Replay);
        (Self(Arc::new(wishes)), wished)
    }

    pub fn want(&self, state: RankState) {
        self.0.send_replace(state);
    }
}

/// The rank this daemon holds, and the first map that says so.
#[derive(Clone, Debug)]
pub struct Standing {
    pub rank: Rank,
    pub map: MdsMap,
}

/// How the link came to its end.
#[derive(Debug, thiserror::Error)]
pub enum LinkEnd {
    #[error("the monitor refuses this daemon: {0}")]
    Refused(MonitorError),
    #[error("the monitor took this incarnation for dead: it has to start again, as a new one")]
    DeclaredDead,
    #[error("the monitor will not talk to this daemon: {0}")]
    Unwelcome(LinkError),
    #[error("the daemon leaves")]
    Left,
    #[error("the daemon has ended")]
    Ended,
}

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the monitor has ended the stream")]
    Ended,
    #[error("the monitor refuses: {0}")]
    Refused(MonitorError),
}

impl LinkError {
    /// Whether trying again is of no use: the configuration is wrong.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Hello(HelloError::Refused(_) | HelloError::Untrusted(_))
            | Self::Dial(DialError::Untrusted { .. })
            | Self::Refused(_) => true,
            Self::Hello(_) | Self::Dial(_) | Self::Frame(_) | Self::Ended => false,
        }
    }
}

/// Everything the link's task needs.
#[derive(Debug)]
pub struct Link {
    pub endpoint: Endpoint,
    pub monitor: SocketAddr,
    pub me: Myself,
    pub wished: watch::Receiver<RankState>,
    /// Turns of the core.
    pub turns: Arc<AtomicU64>,
    /// Told once, when the monitor has given us a rank.
    pub standing: Option<oneshot::Sender<Standing>>,
    /// Of the newest map this daemon has.
    pub map_epoch: Arc<AtomicU64>,
    pub inbox: Inbox,
    pub leash: Holder,
}

/// What lasts from one connection to the monitor to the next.
#[derive(Debug, Default)]
struct Talk {
    rank: Option<Rank>,
    /// Of the last beacon.
    number: u64,
    /// Beacons that were not acknowledged, and when they were sent.
    sent: BTreeMap<u64, StdInstant>,
    /// The newest map that the core has not taken. A core that takes nothing must not keep us from
    /// hearing the monitor.
    untold: Option<MdsMap>,
}

/// Connects to the monitor and says who is there.
///
/// # Errors
/// Nobody there, or somebody else.
pub async fn connect(
    endpoint: &Endpoint,
    monitor: SocketAddr,
    cluster: ClusterId,
    name: &str,
) -> Result<(Connection, Greeted), LinkError> {
    let connection = dial(endpoint, monitor, Role::Mon).await?;
    let hello = Hello::new(cluster, Identity::Daemon { name: name.to_owned() }, None);
    let greeted = hello::greet(&connection, &hello).await?;
    Ok((connection, greeted))
}

impl Link {
    /// Until the daemon leaves or must end. A monitor that is away is waited for.
    pub async fn run(mut self) -> LinkEnd {
        let mut silent = false;
        let mut talk = Talk::default();
        loop {
            let reached =
                connect(&self.endpoint, self.monitor, self.me.cluster, &self.me.name).await;
            let error = match reached {
                Ok((connection, greeted)) => {
                    info!(monitor = %self.monitor, "connected to the monitor");
                    silent = false;
                    let ended = self.converse(greeted, &mut talk).await;
                    connection.close(VarInt::from_u32(0), b"");
                    match ended {
                        Ok(end) => return end,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if error.is_final() {
                return LinkEnd::Unwelcome(error);
            }
            if !silent {
                warn!(monitor = %self.monitor, %error, "no monitor; trying on");
                silent = true;
            }
            if *self.wished.borrow() == RankState::Down {
                return LinkEnd::Left;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn converse(&mut self, greeted: Greeted, talk: &mut Talk) -> Result<LinkEnd, LinkError> {
        let Greeted { mut send, mut recv, .. } = greeted;
        let Myself { name, slot, place, .. } = &self.me;
        let (daemon, slot, place) = (name.clone(), *slot, place.clone());
        send.queue(&ToMonitor::Register { daemon, slot, place });
        send.queue(&ToMonitor::Subscribe);
        talk.sent.clear();
        let inbox = self.inbox.clone();
        let mut beats = interval_at(Instant::now(), BEACON);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => {
                    self.inbox.poke();
                    send.send(&self.beacon(talk)).await?;
                }
                changed = self.wished.changed() => {
                    if changed.is_err() {
                        return Ok(LinkEnd::Ended);
                    }
                    send.send(&self.beacon(talk)).await?;
                }
                room = inbox.room(), if talk.untold.is_some() => {
                    let Ok(room) = room else { return Ok(LinkEnd::Ended) };
                    if let Some(map) = talk.untold.take() {
                        room.put(Input::Map(map));
                    }
                }
                answer = recv.next::<FromMonitor>() => {
                    let answer = answer?.ok_or(LinkError::Ended)?;
                    if let Some(end) = self.hear(answer, talk)? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    fn beacon(&mut self, talk: &mut Talk) -> ToMonitor {
        talk.number += 1;
        talk.sent.insert(talk.number, StdInstant::now());
        ToMonitor::Beacon(Beacon {
            daemon: self.me.name.clone(),
            slot: self.me.slot,
            incarnation: self.me.incarnation,
            addr: self.me.addr,
            state: *self.wished.borrow_and_update(),
            map_epoch: MapEpoch(self.map_epoch.load(Ordering::Relaxed)),
            turns: self.turns.load(Ordering::Relaxed),
            number: talk.number,
        })
    }

    fn hear(&mut self, answer: FromMonitor, talk: &mut Talk) -> Result<Option<LinkEnd>, LinkError> {
        match answer {
            FromMonitor::BeaconAck { number, rank: held, grace } => {
                talk.rank = talk.rank.or(held);
                if let Some(sent) = talk.sent.get(&number) {
                    self.leash.acknowledged(*sent, grace);
                }
                talk.sent.retain(|other, _| *other > number);
                // The last word was heard.
                let leaves = *self.wished.borrow() == RankState::Down;
                Ok((leaves && number == talk.number).then_some(LinkEnd::Left))
            }
            FromMonitor::Map(map) => Ok(self.on_map(map, talk)),
            FromMonitor::Refused(error) => match error {
                MonitorError::StaleIncarnation
                | MonitorError::UnknownSlot(_)
                | MonitorError::Lost(_) => Ok(Some(LinkEnd::Refused(error))),
                MonitorError::Role { .. }
                | MonitorError::Malformed
                | MonitorError::NoRank(_)
                | MonitorError::NotDown { .. }
                | MonitorError::RootLost => Err(LinkError::Refused(error)),
            },
            FromMonitor::Slot { .. }
            | FromMonitor::Done
            | FromMonitor::StandByAck { .. }
            | FromMonitor::TakeOver(_)
            | FromMonitor::Description(_) => Ok(None),
        }
    }

    fn on_map(&mut self, map: MdsMap, talk: &mut Talk) -> Option<LinkEnd> {
        let newest = self.map_epoch.fetch_max(map.epoch.0, Ordering::Relaxed);
        if map.epoch.0 <= newest && self.standing.is_none() {
            return None;
        }
        let rank = talk.rank.or_else(|| map.rank_of(self.me.slot));
        let entry = rank.and_then(|rank| map.ranks.get(&rank));
        let ours = entry.filter(|entry| entry.incarnation == self.me.incarnation)?;
        if ours.state == RankState::Down && *self.wished.borrow() != RankState::Down {
            return Some(LinkEnd::DeclaredDead);
        }
        if let (Some(rank), Some(standing)) = (rank, self.standing.take()) {
            // Fails only if the daemon has ended meanwhile.
            let _ = standing.send(Standing { rank, map });
            return None;
        }
        talk.untold = Some(map);
        None
    }
}
