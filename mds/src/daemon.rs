//! `grove-mds`: puts the core between its store, its clock and its connections.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::id::{ClusterId, Incarnation};
use common::mds_map::RankState;
use common::wire::hello::{Hello, Identity};
use common::wire::monitor::StorePlace;
use mds_core::mds::Mds;
use mds_core::monitor::link::{self, Myself};
use mds_core::{Effects, Input};
use quinn::{Endpoint, VarInt};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};
use transport::{client_endpoint, server_endpoint};

use crate::clock::Clock;
use crate::config::mds::MdsConfig;
use crate::event_loop::EventLoop;
use crate::inbox::{Arrival, Inbox, inbox};
use crate::kill_points::KillPoints;
use crate::leash::{Holder, Leash, leash};
use crate::outlet::{Clients, Outlet, Questions};
use crate::owner::{self, Found, OwnerError};
use crate::purge::{DataStoreError, Purger, check_label};
use crate::readers::Readers;
use crate::shutdown::Shutdown;
use crate::standby::{Seat, wait_for_seat};
use crate::store::superblock::Superblock;
use crate::store::{Store, StoreError};
use crate::syncer::{Syncer, Written};
use crate::transport::listener::{Reception, listen};
use crate::transport::monitor::{Link, LinkEnd, LinkError, Standing, Wishes};
use crate::transport::peer::Peers;
use crate::writer::Writer;

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    DataStore(#[from] DataStoreError),
    #[error(transparent)]
    Endpoint(#[from] transport::EndpointError),
    #[error(
        "the data directory belongs to cluster {found}, but `cluster` in the configuration is \
         {configured}; check `data_dir` and `cluster`"
    )]
    Cluster { found: ClusterId, configured: ClusterId },
    #[error("cannot listen on the kill-point socket {path}: {source}")]
    KillPoints { path: String, source: std::io::Error },
    #[error("cannot begin: {0}")]
    Begin(#[from] std::io::Error),
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error("the monitor will not talk to this daemon: {0}")]
    Unwelcome(#[from] LinkError),
    #[error(transparent)]
    Monitor(LinkEnd),
}

/// How a run that began came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// By a signal; everything is on disk.
    Clean,
    /// The monitor has declared this incarnation dead: the daemon is to begin anew.
    Restart,
}

/// What was opened before anything began.
struct Opened {
    seat: Seat,
    store: Arc<Store>,
    superblock: Superblock,
}

/// What does not depend on which rank it is.
struct Daemon {
    config: MdsConfig,
    endpoint: Endpoint,
    kill_points: KillPoints,
    clock: Clock,
}

/// Runs until a signal ends it, or the monitor does.
///
/// # Errors
/// It cannot begin, or the monitor refuses it.
pub async fn run(config: MdsConfig, kill_points: Option<&Path>) -> Result<End, DaemonError> {
    if let Some(path) = &config.data_store {
        check_label(path, config.cluster)?;
    }
    let kill_points = match kill_points {
        None => KillPoints::default(),
        Some(path) => KillPoints::listen(path).map_err(|source| DaemonError::KillPoints {
            path: path.display().to_string(),
            source,
        })?,
    };
    let own = own_seat(&config)?;
    let endpoint = server_endpoint(&config.credentials, config.listen)?;
    let daemon = Daemon { config, endpoint, kill_points, clock: Clock::default() };
    let mut shutdown = Shutdown::listen()?;
    match own {
        Some(seat) => {
            let opened = open(seat, daemon.config.cluster)?;
            daemon.hold(opened, &mut shutdown).await
        }
        None => daemon.stand_by(&mut shutdown).await,
    }
}

/// The configured directory, unless another daemon has taken it over.
fn own_seat(config: &MdsConfig) -> Result<Option<Seat>, DaemonError> {
    let Some(dir) = config.data_dir.clone() else { return Ok(None) };
    Store::check_format(&dir)?;
    match owner::look(&dir)? {
        Found::Free(vacancy) if vacancy.is_safe() => {
            let claim = vacancy.sign(&dir, &config.name)?;
            Ok(Some(Seat { dir, claim, slot: None }))
        }
        Found::Held(Some(owner)) if owner.daemon == config.name => {
            Err(OwnerError::Busy { path: dir }.into())
        }
        Found::Held(None) => Err(OwnerError::Busy { path: dir }.into()),
        Found::Held(Some(owner)) => {
            info!(by = owner.daemon, "our store was taken over");
            Ok(None)
        }
        Found::Free(_) => {
            warn!("our store was last held on another machine; it is not opened");
            Ok(None)
        }
    }
}

fn open(mut seat: Seat, cluster: ClusterId) -> Result<(Opened, Incarnation), DaemonError> {
    let store = Arc::new(Store::open(&seat.dir)?);
    let superblock = store.superblock()?;
    if superblock.cluster != cluster {
        let (found, configured) = (superblock.cluster, cluster);
        return Err(DaemonError::Cluster { found, configured });
    }
    let incarnation = store.begin_incarnation()?;
    seat.claim.record(incarnation)?;
    Ok((Opened { seat, store, superblock }, incarnation))
}

impl Daemon {
    /// Waits for a rank to take over. A store that cannot be opened is for others to try.
    async fn stand_by(self, shutdown: &mut Shutdown) -> Result<End, DaemonError> {
        let mut failed = None;
        loop {
            let seat = tokio::select! {
                seat = wait_for_seat(&self.config, &self.endpoint, failed) => seat?,
                _ = shutdown.wait() => return Ok(End::Clean),
            };
            failed = seat.slot;
            match open(seat, self.config.cluster) {
                Ok(opened) => return self.hold(opened, shutdown).await,
                Err(error) => error!(%error, "cannot use the store that was taken over"),
            }
        }
    }

    /// Holds a rank to the end.
    async fn hold(
        self,
        (opened, incarnation): (Opened, Incarnation),
        shutdown: &mut Shutdown,
    ) -> Result<End, DaemonError> {
        let (inbox, arrivals) = inbox();
        let (wishes, wished) = Wishes::new();
        let (standing, stood) = oneshot::channel();
        let (holder, leash) = leash(self.clock);
        let turns = Arc::new(AtomicU64::new(0));
        let map_epoch = Arc::new(AtomicU64::new(0));
        let me = self.myself(&opened, incarnation)?;
        info!(name = me.name, %incarnation, slot = me.slot.0, addr = %me.addr, "waiting for a rank");
        let link = LinkParts {
            talk: link::Link::new(me),
            clock: self.clock,
            wished,
            turns: Arc::clone(&turns),
            standing,
            map_epoch: Arc::clone(&map_epoch),
            inbox: inbox.clone(),
            holder,
        };
        let mut ended = start_link(&self.config, link)?;
        let standing = tokio::select! {
            standing = stood => standing,
            end = &mut ended => return finish(end.unwrap_or(LinkEnd::Ended)),
            _ = shutdown.wait() => return Ok(End::Clean),
        };
        let Ok(standing) = standing else {
            return finish(ended.await.unwrap_or(LinkEnd::Ended));
        };
        let shared = Shared { incarnation, turns, map_epoch, wishes: wishes.clone(), inbox, leash };
        let Opened { seat, store, superblock } = opened;
        let event_loop = self.begin((store, superblock), standing, shared, arrivals)?;
        let end = tokio::select! {
            signal = event_loop.run(shutdown) => {
                info!(signal, "rank ends");
                None
            }
            end = &mut ended => Some(end.unwrap_or(LinkEnd::Ended)),
        };
        if let Some(end) = end {
            return finish(end);
        }
        wishes.want(RankState::Down);
        // The monitor may be away; then it will notice by itself.
        let _ = tokio::time::timeout(common::limit::BEACON, ended).await;
        self.endpoint.close(VarInt::from_u32(0), b"rank ends");
        seat.claim.let_go();
        Ok(End::Clean)
    }

    fn myself(&self, opened: &Opened, incarnation: Incarnation) -> Result<Myself, DaemonError> {
        let mut addr = self.config.advertise;
        if addr.port() == 0 {
            addr.set_port(self.endpoint.local_addr()?.port());
        }
        // Others know nothing of our current directory.
        let path = std::path::absolute(&opened.seat.dir)?.display().to_string();
        Ok(Myself {
            name: self.config.name.clone(),
            slot: opened.superblock.slot,
            incarnation,
            addr,
            place: StorePlace { machine: owner::machine(), path },
        })
    }
}

fn finish(end: LinkEnd) -> Result<End, DaemonError> {
    match end {
        LinkEnd::DeclaredDead => {
            warn!("the monitor took this incarnation for dead; beginning anew");
            Ok(End::Restart)
        }
        LinkEnd::Left => Ok(End::Clean),
        LinkEnd::Refused(_) | LinkEnd::Unwelcome(_) | LinkEnd::Ended => {
            Err(DaemonError::Monitor(end))
        }
    }
}

/// What the monitor link shares with the rest.
struct LinkParts {
    talk: link::Link,
    clock: Clock,
    wished: tokio::sync::watch::Receiver<RankState>,
    turns: Arc<AtomicU64>,
    standing: oneshot::Sender<Standing>,
    map_epoch: Arc<AtomicU64>,
    inbox: Inbox,
    holder: Holder,
}

/// Starts the thread that speaks with the monitor. The receiver hears how it ended.
fn start_link(
    config: &MdsConfig,
    parts: LinkParts,
) -> Result<oneshot::Receiver<LinkEnd>, DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoint = {
        let _inside = runtime.enter();
        client_endpoint(&config.credentials)?
    };
    let link = Link {
        endpoint,
        monitor: config.monitor,
        cluster: config.cluster,
        name: config.name.clone(),
        talk: parts.talk,
        clock: parts.clock,
        wished: parts.wished,
        turns: parts.turns,
        standing: Some(parts.standing),
        map_epoch: parts.map_epoch,
        inbox: parts.inbox,
        leash: parts.holder,
    };
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("monitor-link".to_owned()).spawn(move || {
        // Fails only if the daemon has ended meanwhile.
        let _ = end.send(runtime.block_on(link.run()));
    })?;
    Ok(ended)
}

struct Shared {
    incarnation: Incarnation,
    turns: Arc<AtomicU64>,
    map_epoch: Arc<AtomicU64>,
    wishes: Wishes,
    inbox: Inbox,
    leash: Leash,
}

impl Daemon {
    /// The rank is known: makes the core of it, and opens the doors.
    fn begin(
        &self,
        (store, superblock): (Arc<Store>, Superblock),
        standing: Standing,
        shared: Shared,
        arrivals: mpsc::Receiver<Arrival>,
    ) -> Result<EventLoop, DaemonError> {
        let Self { config, endpoint, kill_points, clock } = self;
        let Standing { rank, map } = standing;
        let Shared { incarnation, turns, map_epoch, wishes, inbox, leash } = shared;
        let restored = store.restore()?;
        let params = config.params(rank, &superblock, incarnation);
        info!(
            rank = rank.0,
            rows = restored.rows.len(),
            journal = restored.journal.len(),
            "replaying"
        );
        let mut out = Effects::default();
        let mut mds = Mds::new(params, restored, clock.now(), &mut out);

        let written = Written::default();
        let identity = Identity::Mds { rank, incarnation, received: 0 };
        let hello = Hello::new(config.cluster, identity, None);
        let peers = Peers::new(hello, rank, endpoint.clone());
        peers.follow(&map);
        mds.handle(clock.now(), Input::Map(map), &mut out);
        let outlet = Arc::new(Outlet {
            clients: Clients::default(),
            questions: Questions::default(),
            peers,
            readers: Readers::start(&store, &inbox)?,
            purger: Purger::start(config.data_store.clone(), inbox.clone())?,
            syncer: Syncer::start(Arc::clone(&store), written.clone(), inbox.clone())?,
            wishes,
            kill_points: kill_points.clone(),
        });
        let who = (config.cluster, rank, incarnation);
        let reception = Reception::new(who, map_epoch, inbox, Arc::clone(&outlet));
        tokio::spawn(listen(endpoint.clone(), Arc::new(reception)));
        let writer = Writer::start(store, outlet, written)?;
        Ok(EventLoop::new((mds, out), *clock, arrivals, writer, turns, leash))
    }
}
