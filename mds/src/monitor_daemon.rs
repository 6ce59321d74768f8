//! `grove-mon`: the pure monitor between its store, its clock and its connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::id::{ClusterId, Incarnation, MapEpoch};
use common::wire::hello::{Refusal, Welcome};
use common::wire::monitor::{FromMonitor, ToMonitor};
use mds_core::monitor::{Asker, ConnId, Effect, Input, Monitor, Params, TICK};
use quinn::{Connection, Endpoint};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info};
use transport::hello::{self, HelloError};
use transport::{FramedRecv, Role, peer_identity, server_endpoint};

use crate::clock::Clock;
use crate::config::monitor::MonitorConfig;
use crate::monitor_store::MonitorStore;
use crate::shutdown::Shutdown;
use crate::store::StoreError;
use crate::transport::outbox::Outbox;

/// Messages waiting for the monitor; connections stop being read when it is full.
const INBOX_MAX: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum MonitorDaemonError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Endpoint(#[from] transport::EndpointError),
    #[error(
        "`ranks_wanted` is {wanted}, but {given} ranks were given out already; ranks cannot be \
         taken back: set it to {given} or more"
    )]
    RanksTaken { wanted: u16, given: u16 },
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

/// What connections tell the loop.
enum Event {
    Connected { conn: ConnId, outbox: Outbox<FromMonitor> },
    Input(Input),
}

/// Runs until a signal ends it.
///
/// # Errors
/// It cannot begin, or its store fails.
pub async fn run(config: MonitorConfig) -> Result<(), MonitorDaemonError> {
    let store = MonitorStore::open(&config.data_dir)?;
    let stored = store.read()?;
    let given = stored.ranks_given();
    if config.ranks_wanted < given {
        return Err(MonitorDaemonError::RanksTaken { wanted: config.ranks_wanted, given });
    }
    let endpoint = server_endpoint(&config.credentials, config.listen)?;
    let mut shutdown = Shutdown::listen().map_err(MonitorDaemonError::Signals)?;
    let incarnation = store.begin_incarnation()?;

    let cluster = stored.map.cluster;
    let epoch = Arc::new(AtomicU64::new(stored.map.epoch.0));
    let clock = Clock::default();
    let params = Params { ranks_wanted: config.ranks_wanted, grace: config.grace };
    let mut out = Vec::new();
    let monitor = Monitor::new(params, stored, clock.monotonic(), &mut out);
    let mut daemon =
        Daemon { monitor, store, clock, epoch: Arc::clone(&epoch), outboxes: HashMap::new() };
    daemon.carry_out(&mut out)?;
    info!(%cluster, %incarnation, listen = %config.listen, ranks = config.ranks_wanted, "monitor runs");

    let (events, inbox) = mpsc::channel(INBOX_MAX);
    let greeting = Greeting { cluster, incarnation, epoch };
    tokio::spawn(accept(endpoint.clone(), greeting, events));
    tokio::select! {
        ended = daemon.turn_forever(inbox) => ended?,
        signal = shutdown.wait() => info!(signal, "monitor ends"),
    }
    endpoint.close(quinn::VarInt::from_u32(0), b"monitor ends");
    Ok(())
}

struct Daemon {
    monitor: Monitor,
    store: MonitorStore,
    clock: Clock,
    epoch: Arc<AtomicU64>,
    outboxes: HashMap<ConnId, Outbox<FromMonitor>>,
}

impl Daemon {
    async fn turn_forever(&mut self, mut inbox: mpsc::Receiver<Event>) -> Result<(), StoreError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut out = Vec::new();
        loop {
            let event = tokio::select! {
                _ = ticks.tick() => Event::Input(Input::Tick),
                event = inbox.recv() => match event {
                    Some(event) => event,
                    None => return Ok(()),
                },
            };
            match event {
                Event::Connected { conn, outbox } => {
                    self.outboxes.insert(conn, outbox);
                }
                Event::Input(input) => {
                    if let Input::Gone { conn } = &input {
                        self.outboxes.remove(conn);
                    }
                    self.monitor.handle(self.clock.monotonic(), input, &mut out);
                    self.carry_out(&mut out)?;
                }
            }
        }
    }

    fn carry_out(&mut self, out: &mut Vec<Effect>) -> Result<(), StoreError> {
        for effect in out.drain(..) {
            match effect {
                Effect::Persist(stored) => {
                    self.store.put(&stored)?;
                    self.epoch.store(stored.map.epoch.0, Ordering::Relaxed);
                    for (rank, entry) in &stored.map.ranks {
                        let (state, incarnation) = (entry.state.name(), entry.incarnation.0);
                        debug!(
                            epoch = stored.map.epoch.0,
                            rank = rank.0,
                            incarnation,
                            state,
                            "map"
                        );
                    }
                }
                Effect::Send { to, msg } => {
                    let behind =
                        self.outboxes.get(&to).is_some_and(|outbox| outbox.put(msg).is_err());
                    if behind {
                        self.outboxes.remove(&to);
                    }
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Greeting {
    cluster: ClusterId,
    incarnation: Incarnation,
    epoch: Arc<AtomicU64>,
}

async fn accept(endpoint: Endpoint, greeting: Greeting, events: mpsc::Sender<Event>) {
    let mut next = 1;
    while let Some(incoming) = endpoint.accept().await {
        let conn = ConnId(next);
        next += 1;
        let (greeting, events) = (greeting.clone(), events.clone());
        tokio::spawn(async move {
            let connection = match incoming.await {
                Ok(connection) => connection,
                Err(error) => return info!(%error, "a connection was not accepted"),
            };
            let from = connection.remote_address();
            if let Err(error) = serve(connection, conn, &greeting, &events).await {
                debug!(%from, %error, "a connection ended");
            }
            let _ = events.send(Event::Input(Input::Gone { conn })).await;
        });
    }
}

async fn serve(
    connection: Connection,
    conn: ConnId,
    greeting: &Greeting,
    events: &mpsc::Sender<Event>,
) -> Result<(), HelloError> {
    let mut stranger = hello::receive(&connection, greeting.cluster).await?;
    let Some(asker) = asker(&connection) else {
        let refusal = Refusal::Role { role: role_of(&connection) };
        hello::refuse(&connection, stranger.send, &refusal).await;
        return Err(HelloError::Refused(refusal));
    };
    let welcome = Welcome::Accepted {
        incarnation: greeting.incarnation,
        map_epoch: MapEpoch(greeting.epoch.load(Ordering::Relaxed)),
        received: 0,
    };
    stranger.send.send(&welcome).await?;
    let outbox = Outbox::start(connection, stranger.send);
    let _ = events.send(Event::Connected { conn, outbox }).await;
    read(conn, asker, stranger.recv, events).await
}

async fn read(
    conn: ConnId,
    asker: Asker,
    mut recv: FramedRecv,
    events: &mpsc::Sender<Event>,
) -> Result<(), HelloError> {
    while let Some(msg) = recv.next::<ToMonitor>().await? {
        let input = Input::Message { from: conn, asker: asker.clone(), msg };
        if events.send(Event::Input(input)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn asker(connection: &Connection) -> Option<Asker> {
    let identity = peer_identity(connection).ok()?;
    match identity.role {
        Role::Mds => Some(Asker::Mds { name: identity.name }),
        Role::Client => Some(Asker::Client),
        Role::Admin => Some(Asker::Admin),
        Role::Mon => None,
    }
}

fn role_of(connection: &Connection) -> String {
    peer_identity(connection).map_or_else(|_| "none".to_owned(), |peer| peer.role.to_string())
}
