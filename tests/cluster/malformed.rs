//! Trusted certificates, untrusted bytes: whatever a client or daemon of the cluster writes, its
//! connection ends, with a reason where there is one, and nobody else notices.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use common::id::{ClientId, ClusterId};
use common::limit::FRAME_BYTES_MAX;
use common::wire::encode_frame;
use common::wire::hello::{Hello, Identity, Refusal};
use quinn::{Connection, Endpoint};
use tests::cluster::{Cluster, PATIENCE};
use transport::hello::{HelloError, greet};
use transport::{Credentials, Role, client_endpoint, dial};

/// Somebody with a certificate of the cluster.
struct Stranger {
    endpoint: Endpoint,
    cluster: ClusterId,
    identity: Identity,
}

impl Stranger {
    /// Must be called inside a runtime.
    fn with_certificate(cluster: &Cluster, name: &str, identity: Identity) -> anyhow::Result<Self> {
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

    fn hello(&self) -> Hello {
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

fn addr_of_rank(cluster: &Cluster) -> anyhow::Result<SocketAddr> {
    let status = cluster.grove_json(&["status"])?;
    let addr = status["ranks"][0]["addr"].as_str().context("a rank has an address")?;
    addr.parse().context("a rank's address")
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[test]
fn frames_that_do_not_decode_end_the_connection_alone() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let mount = cluster.mount("mount")?;
    let rank = (addr_of_rank(&cluster)?, Role::Mds);
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
    let rank = (addr_of_rank(&cluster)?, Role::Mds);
    let monitor = (cluster.monitor().parse()?, Role::Mon);
    let runtime = runtime()?;
    let inside = runtime.enter();
    let client = Identity::Client(ClientId(4711));
    let client = Stranger::with_certificate(&cluster, "client", client)?;
    drop(inside);
    for to in [rank, monitor] {
        let mut other_version = client.hello();
        other_version.version += 1;
        let refused = runtime.block_on(async {
            let connection = dial(&client.endpoint, to.0, to.1).await?;
            anyhow::Ok(greet(&connection, &other_version).await)
        })?;
        match refused {
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
