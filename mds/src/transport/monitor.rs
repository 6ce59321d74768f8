//! The way to the monitor, on a thread and runtime of its own: beacons go out however busy the core
//! is, and say how far it has come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::id::{ClusterId, Rank};
use common::limit::BEACON;
use common::mds_map::{MdsMap, RankState};
use common::wire::hello::{Hello, Identity};
use common::wire::monitor::{FromMonitor, MonitorError, ToMonitor};
use mds_core::Input;
use mds_core::monitor::link::{self, Ending, Heard};
use quinn::{Connection, Endpoint, VarInt};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{info, warn};
use transport::hello::{self, Greeted, HelloError};
use transport::{DialError, FrameError, Role, dial};

use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::leash::Holder;

const RETRY: Duration = Duration::from_millis(300);

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
    pub cluster: ClusterId,
    pub name: String,
    /// What is said, and what follows from the answers.
    pub talk: link::Link,
    pub clock: Clock,
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
        // The newest map that the core has not taken. A core that takes nothing must not keep us from
        // hearing the monitor.
        let mut untold = None;
        loop {
            let reached = connect(&self.endpoint, self.monitor, self.cluster, &self.name).await;
            let error = match reached {
                Ok((connection, greeted)) => {
                    info!(monitor = %self.monitor, "connected to the monitor");
                    silent = false;
                    let ended = self.converse(greeted, &mut untold).await;
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

    async fn converse(
        &mut self,
        greeted: Greeted,
        untold: &mut Option<MdsMap>,
    ) -> Result<LinkEnd, LinkError> {
        let Greeted { mut send, mut recv, .. } = greeted;
        for word in self.talk.greet(self.clock.monotonic()) {
            send.queue(&word);
        }
        self.leash.lengthen(self.talk.leash());
        let inbox = self.inbox.clone();
        let mut beats = interval_at(Instant::now(), BEACON);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => {
                    self.inbox.poke();
                    send.send(&self.beacon()).await?;
                }
                changed = self.wished.changed() => {
                    if changed.is_err() {
                        return Ok(LinkEnd::Ended);
                    }
                    send.send(&self.beacon()).await?;
                }
                room = inbox.room(), if untold.is_some() => {
                    let Ok(room) = room else { return Ok(LinkEnd::Ended) };
                    if let Some(map) = untold.take() {
                        room.put(Input::Map(map));
                    }
                }
                answer = recv.next::<FromMonitor>() => {
                    let answer = answer?.ok_or(LinkError::Ended)?;
                    if let Some(end) = self.hear(answer, untold)? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    fn beacon(&mut self) -> ToMonitor {
        self.talk.want(*self.wished.borrow_and_update());
        self.talk.beacon(self.clock.monotonic(), self.turns.load(Ordering::Relaxed))
    }

    fn hear(
        &mut self,
        answer: FromMonitor,
        untold: &mut Option<MdsMap>,
    ) -> Result<Option<LinkEnd>, LinkError> {
        // A wish whose beacon is about to leave: a map that shows it granted is no surprise.
        self.talk.want(*self.wished.borrow());
        let heard = self.talk.hear(answer);
        self.map_epoch.store(self.talk.map_epoch().0, Ordering::Relaxed);
        match heard {
            Heard::Nothing => {}
            Heard::Acknowledged(leash) => self.leash.lengthen(leash),
            Heard::Stands { rank, map } => {
                if let Some(standing) = self.standing.take() {
                    // Fails only if the daemon has ended meanwhile.
                    let _ = standing.send(Standing { rank, map });
                }
            }
            Heard::Map(map) => *untold = Some(map),
            Heard::Ends(Ending::DeclaredDead) => return Ok(Some(LinkEnd::DeclaredDead)),
            Heard::Ends(Ending::Refused(error)) => return Ok(Some(LinkEnd::Refused(error))),
            Heard::Ends(Ending::Unwelcome(error)) => return Err(LinkError::Refused(error)),
            Heard::Ends(Ending::Left) => return Ok(Some(LinkEnd::Left)),
        }
        Ok(None)
    }
}
