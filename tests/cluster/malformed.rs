//! Trusted certificates, untrusted bytes: whatever a client or daemon of the cluster writes, its
//! connection ends, with a reason where there is one, and nobody else notices.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use common::id::{ClientId, ClusterId};
use common::limit::FRAME_BYTES_MAX;
use common::wire::encode_frame;
use common::wire::hello::{Hello, Identity, Refusal};
use quinn::{Connection, Endpoint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tests::cluster::{Cluster, PATIENCE};
use transport::hello::{Greeted, HelloError, greet};
use transport::{Credentials, Role, client_endpoint, dial};

/// Somebody with a certificate of the cluster.
pub(crate) struct Stranger {
    endpoint: Endpoint,
    cluster: ClusterId,
    identity: Identity,
}

impl Stranger {
    /// Must be called inside a runtime.
    pub(crate) fn with_certificate(
        cluster: &Cluster,
        name: &str,
        identity: Identity,
    ) -> anyhow::Result<Self> {
        let file = |name: &str| cluster.path("certs").join(name);
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let credentials = Credentials::load(&file("ca.pem"), &file(&certificate), &file(&key))?;
        let status = cluster.grove_json(&["status"])?;
        let id = status["cluster"].as_str().context("a cluster has an id")?;
        Ok(Self {
            endpoint: client_endpoint(&credentials)?,
            cluster: id.parse().context("the cluster's id")?,
            identity,
        })
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello::new(self.cluster, self.identity.clone(), None)
    }

    /// Says a proper hello, then these bytes; the daemon has to end the connection.
    async fn say(&self, (addr, role): (SocketAddr, Role), bytes: &[u8]) -> anyhow::Result<()> {
        let connection = dial(&self.endpoint, addr, role).await?;
        let mut greeted = greet(&connection, &self.hello()).await?;
        greeted.send.queue_encoded(bytes);
        // The daemon may have ended the connection before all of it was sent.
        let _ = greeted.send.flush().await;
        let _stream = greeted.send.finish();
        ended(&connection).await
    }

    /// How a hello is answered.
    pub(crate) async fn greet(
        &self,
        (addr, role): (SocketAddr, Role),
        hello: &Hello,
    ) -> anyhow::Result<Result<Greeted, HelloError>> {
        let connection = dial(&self.endpoint, addr, role).await?;
        Ok(greet(&connection, hello).await)
    }

    /// Says a proper hello, then something that is answered.
    pub(crate) async fn ask<Question: Serialize, Answer: DeserializeOwned>(
        &self,
        to: (SocketAddr, Role),
        question: &Question,
    ) -> anyhow::Result<Answer> {
        let mut greeted = self.greet(to, &self.hello()).await??;
        greeted.send.queue(question);
        greeted.send.flush().await?;
        let answer = tokio::time::timeout(PATIENCE, greeted.recv.next()).await??;
        answer.context("an answer")
    }

    /// Says something else instead of a hello.
    async fn begin(&self, (addr, role): (SocketAddr, Role), bytes: &[u8]) -> anyhow::Result<()> {
        let connection = dial(&self.endpoint, addr, role).await?;
        let (mut send, _recv) = connection.open_bi().await?;
        let _ = send.write_all(bytes).await;
        ended(&connection).await
    }
}

async fn ended(connection: &Connection) -> anyhow::Result<()> {
    tokio::time::timeout(PATIENCE, connection.closed())
        .await
        .map(drop)
        .context("wait until the daemon ends the connection")
}

/// A length and so many bytes.
fn frame(length: u32, content: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes(), content].concat()
}

/// What no decoder may accept. The text says why.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let over = u32::try_from(FRAME_BYTES_MAX + 1).expect("a frame's length has 32 bits");
    vec![
        ("a length beyond every limit", frame(u32::MAX, b"and nothing of it")),
        ("a length just above the limit", frame(over, &vec![0; FRAME_BYTES_MAX + 1])),
        (
            "a frame of the largest size full of noise",
            frame(over - 1, &vec![0xA5; FRAME_BYTES_MAX]),
        ),
        ("no variant has this number", frame(3, &[0xFE, 0xFF, 0x7F])),
        ("an empty frame", frame(0, b"")),
        ("the stream ends within a frame", frame(100, b"short")),
    ]
}

pub(crate) fn addr_of_rank(cluster: &Cluster, rank: usize) -> anyhow::Result<SocketAddr> {
    let status = cluster.grove_json(&["status"])?;
    let addr = status["ranks"][rank]["addr"].as_str().context("a rank has an address")?;
    addr.parse().context("a rank's address")
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[test]
fn frames_that_do_not_decode_end_the_connection_alone() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let mount = cluster.mount("mount")?;
    let rank = (addr_of_rank(&cluster, 0)?, Role::Mds);
    let monitor = (cluster.monitor().parse()?, Role::Mon);
    let runtime = runtime()?;
    let inside = runtime.enter();
    let client = Identity::Client(ClientId(4711));
    let client = Stranger::with_certificate(&cluster, "client", client)?;
    let admin = Stranger::with_certificate(&cluster, "admin", Identity::Admin)?;
    drop(inside);
    for (why, bytes) in malformed() {
        for (stranger, to) in
            [(&client, rank), (&client, monitor), (&admin, rank), (&admin, monitor)]
        {
            let said = runtime.block_on(stranger.say(to, &bytes));
            said.with_context(|| format!("{why}, said to {to:?} by {:?}", stranger.identity))?;
        }
        std::fs::write(mount.path("file"), why).context("another client works on")?;
    }
    ensure!(cluster.runs("mds-0") && cluster.runs("mon"));
    mount.unmount()?;
    cluster.end()
}

#[test]
fn hellos_that_cannot_be_are_refused() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let rank = (addr_of_rank(&cluster, 0)?, Role::Mds);
    let monitor = (cluster.monitor().parse()?, Role::Mon);
    let runtime = runtime()?;
    let inside = runtime.enter();
    let client = Identity::Client(ClientId(4711));
    let client = Stranger::with_certificate(&cluster, "client", client)?;
    drop(inside);
    for to in [rank, monitor] {
        let mut other_version = client.hello();
        other_version.version += 1;
        match runtime.block_on(client.greet(to, &other_version))? {
            Err(HelloError::Refused(Refusal::Version { .. })) => {}
            other => bail!("another version was met with {other:?}"),
        }
        let mut magic = Vec::new();
        encode_frame(&Hello { magic: *b"SomeFS\0\0", ..client.hello() }, &mut magic);
        for bytes in [magic, frame(u32::MAX, b""), frame(1 << 20, &vec![7; 1 << 20]), vec![0; 4]] {
            runtime.block_on(client.begin(to, &bytes))?;
        }
    }
    let mount = cluster.mount("mount")?;
    std::fs::write(mount.path("file"), "well")?;
    mount.unmount()?;
    cluster.end()
}
