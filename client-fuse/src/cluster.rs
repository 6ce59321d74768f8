//! `Cluster`: a tool's view of a cluster: the monitor's map, and questions to its ranks.

mod question;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use common::id::{ClientId, ClusterId, Rank, RequestId};
use common::mds_map::MdsMap;
use common::wire::admin::{AdminError, AdminReply, AdminRequest};
use common::wire::hello::{Hello, Identity, Refusal};
use common::wire::monitor::{Description, FromMonitor, MonitorError, ToMonitor};
use common::wire::session::{ToClient, ToMds};
use quinn::{Connection, Endpoint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use transport::hello::{Greeted, HelloError, greet};
use transport::{CredentialsError, DialError, EndpointError, FrameError, Role, dial};

use crate::config::Settings;

/// How long a rank may take to end the session of a mount that is dead: its lease would do it as well.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// No question takes a daemon longer than this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("cannot set up the network: {0}")]
    Runtime(#[from] io::Error),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("cannot reach {whom}")]
    Dial { whom: String, source: DialError },
    #[error("none of {} monitors answers: {}", .0.len(), in_words(.0))]
    NoMonitor(Vec<DialError>),
    #[error("{whom} does not talk to us")]
    Hello { whom: String, source: HelloError },
    #[error("the connection to {whom} broke")]
    Frame { whom: String, source: FrameError },
    #[error("{whom} does not answer")]
    Silent { whom: String },
    #[error("{whom} ended the conversation")]
    Ended { whom: String },
    #[error("the monitor refuses: {0}")]
    Refused(MonitorError),
    #[error("rank {rank} refuses: {error}")]
    RankRefuses { rank: Rank, error: AdminError },
    #[error("{whom} answers what was not asked")]
    Unexpected { whom: String },
    #[error("rank {rank} is {state}; `grove status` shows which ranks are active")]
    RankDown { rank: Rank, state: &'static str },
    #[error("there is no rank {rank}; the cluster has {known}")]
    NoRank { rank: Rank, known: String },
}

/// Connections are made when first needed, and kept.
#[derive(Debug)]
pub struct Cluster {
    runtime: Runtime,
    endpoint: Endpoint,
    identity: Identity,
    id: ClusterId,
    /// The one of them that answered.
    monitor_at: SocketAddr,
    monitor: Conversation,
    ranks: BTreeMap<Rank, Conversation>,
    map: MdsMap,
}

#[derive(Debug)]
struct Conversation {
    whom: String,
    /// Dropping it would end the streams.
    _connection: Connection,
    greeted: Greeted,
}

impl Cluster {
    /// Connects to the monitor and gets the map.
    ///
    /// # Errors
    /// Says who cannot be reached, or does not want us.
    pub fn connect(settings: &Settings, identity: Identity) -> Result<Self, ClusterError> {
        let credentials = settings.credentials()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let endpoint = {
            let _context = runtime.enter();
            transport::client_endpoint(&credentials)?
        };
        let (id, monitor_at, mut monitor) =
            runtime.block_on(open_monitor(&endpoint, settings, identity.clone()))?;
        let map = runtime.block_on(async {
            monitor.send(&ToMonitor::Subscribe).await?;
            match monitor.receive().await? {
                FromMonitor::Map(map) => Ok(map),
                FromMonitor::Refused(error) => Err(ClusterError::Refused(error)),
                FromMonitor::BeaconAck { .. }
                | FromMonitor::Slot { .. }
                | FromMonitor::Done
                | FromMonitor::StandByAck { .. }
                | FromMonitor::TakeOver(_)
                | FromMonitor::Description(_) => Err(unexpected()),
            }
        })?;
        let ranks = BTreeMap::new();
        Ok(Self { runtime, endpoint, identity, id, monitor_at, monitor, ranks, map })
    }

    #[must_use]
    pub fn id(&self) -> ClusterId {
        self.id
    }

    /// Where the monitor is that was reached.
    #[must_use]
    pub fn monitor_at(&self) -> SocketAddr {
        self.monitor_at
    }

    #[must_use]
    pub fn map(&self) -> &MdsMap {
        &self.map
    }

    /// Orders something of the monitor.
    ///
    /// # Errors
    /// It refuses, or cannot be reached.
    pub fn order(&mut self, order: &ToMonitor) -> Result<(), ClusterError> {
        match self.ask_monitor(order)? {
            FromMonitor::Done => Ok(()),
            FromMonitor::BeaconAck { .. }
            | FromMonitor::Slot { .. }
            | FromMonitor::StandByAck { .. }
            | FromMonitor::TakeOver(_)
            | FromMonitor::Description(_)
            | FromMonitor::Map(_)
            | FromMonitor::Refused(_) => Err(unexpected()),
        }
    }

    /// Who stands by, and where stores lie.
    ///
    /// # Errors
    /// The monitor cannot be reached.
    pub fn describe(&mut self) -> Result<Description, ClusterError> {
        match self.ask_monitor(&ToMonitor::Describe)? {
            FromMonitor::Description(description) => Ok(description),
            FromMonitor::BeaconAck { .. }
            | FromMonitor::Slot { .. }
            | FromMonitor::StandByAck { .. }
            | FromMonitor::TakeOver(_)
            | FromMonitor::Done
            | FromMonitor::Map(_)
            | FromMonitor::Refused(_) => Err(unexpected()),
        }
    }

    /// The answer to a question; maps may come before it.
    fn ask_monitor(&mut self, question: &ToMonitor) -> Result<FromMonitor, ClusterError> {
        let (monitor, map) = (&mut self.monitor, &mut self.map);
        self.runtime.block_on(async {
            monitor.send(question).await?;
            loop {
                match monitor.receive().await? {
                    FromMonitor::Map(newer) => *map = newer,
                    FromMonitor::Refused(error) => return Err(ClusterError::Refused(error)),
                    answer @ (FromMonitor::Done
                    | FromMonitor::BeaconAck { .. }
                    | FromMonitor::Slot { .. }
                    | FromMonitor::StandByAck { .. }
                    | FromMonitor::TakeOver(_)
                    | FromMonitor::Description(_)) => return Ok(answer),
                }
            }
        })
    }

    /// Ends the sessions of a mount, as it would itself.
    ///
    /// # Errors
    /// Some rank could not be told.
    pub fn end_sessions(&mut self, client: ClientId) -> Result<(), ClusterError> {
        for (rank, entry) in &self.map.ranks {
            let to = Some(entry.incarnation);
            let hello = Hello::new(self.id, Identity::Client(client), to);
            let (whom, at) = (format!("rank {rank}"), (entry.addr, Role::Mds));
            self.runtime.block_on(async {
                let end = end_session(&self.endpoint, whom.clone(), at, (&hello, client));
                match tokio::time::timeout(GOODBYE_TIMEOUT, end).await {
                    Ok(ended) => ended,
                    Err(_) => Err(ClusterError::Silent { whom }),
                }
            })?;
        }
        Ok(())
    }

    /// The ranks that can be asked.
    pub fn reachable(&self) -> Vec<Rank> {
        self.map
            .ranks
            .keys()
            .copied()
            .filter(|rank| self.map.incarnation(*rank).is_some())
            .collect()
    }

    /// Asks a rank.
    ///
    /// # Errors
    /// There is none, it is down, or it cannot be reached.
    fn ask(&mut self, rank: Rank, request: &AdminRequest) -> Result<AdminReply, ClusterError> {
        self.ask_within(rank, request, ANSWER_TIMEOUT)
    }

    fn ask_within(
        &mut self,
        rank: Rank,
        request: &AdminRequest,
        time: Duration,
    ) -> Result<AdminReply, ClusterError> {
        let mut conversation = match self.ranks.remove(&rank) {
            Some(conversation) => conversation,
            None => self.open_rank(rank)?,
        };
        let reply = self.runtime.block_on(async {
            conversation.send(request).await?;
            conversation.receive_within(time).await
        })?;
        self.ranks.insert(rank, conversation);
        Ok(reply)
    }

    fn open_rank(&self, rank: Rank) -> Result<Conversation, ClusterError> {
        let Some(entry) = self.map.ranks.get(&rank) else {
            let known = self.map.ranks.keys().map(Rank::to_string).collect::<Vec<_>>().join(", ");
            return Err(ClusterError::NoRank { rank, known });
        };
        let Some(incarnation) = self.map.incarnation(rank) else {
            return Err(ClusterError::RankDown { rank, state: entry.state.name() });
        };
        let hello = Hello::new(self.id, self.identity.clone(), Some(incarnation));
        let whom = format!("rank {rank}");
        self.runtime.block_on(open(&self.endpoint, whom, (entry.addr, Role::Mds), &hello))
    }
}

fn unexpected() -> ClusterError {
    ClusterError::Unexpected { whom: "the monitor".to_owned() }
}

/// Says hello to the monitor that answers first. If we were not told the cluster's id, its refusal
/// says it: that it is the right cluster follows from its certificate.
async fn open_monitor(
    endpoint: &Endpoint,
    settings: &Settings,
    identity: Identity,
) -> Result<(ClusterId, SocketAddr, Conversation), ClusterError> {
    let (addr, connection) = dial_first(endpoint, &settings.monitors).await?;
    let whom = || format!("the monitor at {addr}");
    let mut id = settings.cluster.unwrap_or(ClusterId(0));
    let hello = Hello::new(id, identity.clone(), None);
    match say_hello(whom(), connection, &hello).await {
        Err(ClusterError::Hello {
            source: HelloError::Refused(Refusal::Cluster { ours, .. }),
            ..
        }) if settings.cluster.is_none() => id = ours,
        other => return Ok((id, addr, other?)),
    }
    let hello = Hello::new(id, identity, None);
    let second = open(endpoint, whom(), (addr, Role::Mon), &hello).await?;
    Ok((id, addr, second))
}

/// All are called at once, so that one that is down costs no time.
async fn dial_first(
    endpoint: &Endpoint,
    monitors: &[SocketAddr],
) -> Result<(SocketAddr, Connection), ClusterError> {
    let mut dials = JoinSet::new();
    for addr in monitors.iter().copied() {
        let endpoint = endpoint.clone();
        dials.spawn(async move { (addr, dial(&endpoint, addr, Role::Mon).await) });
    }
    let mut failed = Vec::new();
    while let Some(dialed) = dials.join_next().await {
        match dialed.map_err(io::Error::other)? {
            (addr, Ok(connection)) => return Ok((addr, connection)),
            (addr, Err(source)) => failed.push((addr, source)),
        }
    }
    match failed.pop() {
        Some((addr, source)) if failed.is_empty() => {
            Err(ClusterError::Dial { whom: format!("the monitor at {addr}"), source })
        }
        last => {
            let failed = failed.into_iter().chain(last).map(|(_, source)| source);
            Err(ClusterError::NoMonitor(failed.collect()))
        }
    }
}

fn in_words(errors: &[DialError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

async fn open(
    endpoint: &Endpoint,
    whom: String,
    (addr, role): (SocketAddr, Role),
    hello: &Hello,
) -> Result<Conversation, ClusterError> {
    let connection = match dial(endpoint, addr, role).await {
        Ok(connection) => connection,
        Err(source) => return Err(ClusterError::Dial { whom, source }),
    };
    say_hello(whom, connection, hello).await
}

async fn say_hello(
    whom: String,
    connection: Connection,
    hello: &Hello,
) -> Result<Conversation, ClusterError> {
    match greet(&connection, hello).await {
        Ok(greeted) => Ok(Conversation { whom, _connection: connection, greeted }),
        Err(source) => Err(ClusterError::Hello { whom, source }),
    }
}

/// Takes a session up, and closes it.
async fn end_session(
    endpoint: &Endpoint,
    whom: String,
    at: (SocketAddr, Role),
    (hello, client): (&Hello, ClientId),
) -> Result<(), ClusterError> {
    let mut conversation = open(endpoint, whom, at, hello).await?;
    conversation.send(&ToMds::Open { client, oldest: RequestId(0) }).await?;
    while !matches!(conversation.receive::<ToClient>().await?, ToClient::Opened(_)) {}
    conversation.send(&ToMds::Close).await?;
    // The rank closes the connection when it has done so.
    while conversation.receive::<ToClient>().await.is_ok() {}
    Ok(())
}

impl Conversation {
    async fn send<T: Serialize + Sync>(&mut self, message: &T) -> Result<(), ClusterError> {
        let whom = &self.whom;
        let sent = self.greeted.send.send(message).await;
        sent.map_err(|source| ClusterError::Frame { whom: whom.clone(), source })
    }

    async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ClusterError> {
        self.receive_within(ANSWER_TIMEOUT).await
    }

    async fn receive_within<T: DeserializeOwned>(
        &mut self,
        time: Duration,
    ) -> Result<T, ClusterError> {
        let whom = self.whom.clone();
        match tokio::time::timeout(time, self.greeted.recv.next()).await {
            Err(_) => Err(ClusterError::Silent { whom }),
            Ok(Err(source)) => Err(ClusterError::Frame { whom, source }),
            Ok(Ok(None)) => Err(ClusterError::Ended { whom }),
            Ok(Ok(Some(message))) => Ok(message),
        }
    }
}
