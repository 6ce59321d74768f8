//! `rank-load`: what one rank does without a mount: creates, look-ups and unlinks of one raw client,
//! so many at a time. Names are `NAME-0`, `NAME-1`, … in the root directory.
//!
//! ```text
//! rank-load --cluster ID --mds ADDR --ca FILE --cert FILE --key FILE [--depth N] [--ops N] NAME
//! ```

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use common::id::{ClientId, ClusterId, Ino, InoRange, RequestId};
use common::limit::{INO_RANGE_LOW, LEASE_RENEW};
use common::name::Name;
use common::time::Timestamp;
use common::wire::hello::{Hello, Identity};
use common::wire::reply::Outcome;
use common::wire::request::{Caller, Create, Forget, IfExists, Node, Op, Request, Target};
use common::wire::session::{ToClient, ToMds};
use transport::hello::{Greeted, greet};
use transport::{Credentials, Role, client_endpoint, dial};

/// Measures what one rank does without a mount.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, value_name = "ID")]
    cluster: ClusterId,
    #[arg(long, value_name = "ADDR")]
    mds: SocketAddr,
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// A certificate of role `client`.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Requests under way at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: usize,
    /// Requests of each kind.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    ops: u64,
    name: String,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let credentials = Credentials::load(&arguments.ca, &arguments.cert, &arguments.key)?;
    let endpoint = client_endpoint(&credentials)?;
    let connection = dial(&endpoint, arguments.mds, Role::Mds).await?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
    let id = ClientId(u64::try_from(since.as_nanos() & u128::from(u64::MAX))?);
    let hello = Hello::new(arguments.cluster, Identity::Client(id), None);
    let greeted = greet(&connection, &hello).await?;
    let mut client = Client::open(greeted, id).await?;

    let name = |n: u64| Name::new(format!("{}-{n}", arguments.name).as_bytes());
    let mut made = Vec::new();
    let ops = arguments.ops;
    client
        .measure("create", arguments.depth, ops, |client, n| {
            let ino = client.next_ino()?;
            made.push(ino);
            Ok(Op::Create(Create {
                dir: Ino::ROOT,
                name: name(n)?,
                ino,
                node: Node::File,
                mode: 0o644,
                umask: 0,
                existing: IfExists::Refuse,
            }))
        })
        .await?;
    client
        .measure("lookup", arguments.depth, ops, |_, n| {
            Ok(Op::Lookup { dir: Ino::ROOT, name: name(n)? })
        })
        .await?;
    client
        .measure("getattr", arguments.depth, ops, |_, _| {
            Ok(Op::Getattr { target: Target::dir(Ino::ROOT) })
        })
        .await?;
    client
        .measure("forget", arguments.depth, ops, |client, n| {
            let ino = made[usize::try_from(n)?];
            // Those that have named it are answered.
            let below = RequestId(client.next_id);
            Ok(Op::Forget { items: vec![Forget { ino, dir: Some(Ino::ROOT), below }] })
        })
        .await?;
    client
        .measure("unlink", arguments.depth, ops, |_, n| {
            Ok(Op::Unlink { dir: Ino::ROOT, name: name(n)? })
        })
        .await?;
    client.say(&ToMds::Close).await?;
    // Until the rank has read it: else it would wait for us after its next restart.
    client.greeted.send.finish().stopped().await.context("say goodbye")?;
    Ok(())
}

/// Between two requests for inode numbers.
const RENEW_SOON: Duration = Duration::from_millis(1);

struct Client {
    greeted: Greeted,
    ranges: VecDeque<InoRange>,
    next_id: u64,
    /// Below it everything was answered.
    answered: u64,
    renewed: Instant,
}

impl Client {
    async fn open(greeted: Greeted, client: ClientId) -> anyhow::Result<Self> {
        let ranges = VecDeque::new();
        let mut session =
            Self { greeted, ranges, next_id: 1, answered: 1, renewed: Instant::now() };
        let oldest = RequestId(1);
        session.greeted.send.queue(&ToMds::Open { client, oldest });
        session.greeted.send.queue(&ToMds::ClaimsDone);
        session.say(&ToMds::ReplayDone).await?;
        while session.ranges.is_empty() {
            session.hear().await?;
        }
        Ok(session)
    }

    async fn say(&mut self, msg: &ToMds) -> anyhow::Result<()> {
        Ok(self.greeted.send.send(msg).await?)
    }

    fn next_ino(&mut self) -> anyhow::Result<Ino> {
        let range = self.ranges.front_mut().context("the rank lends too few inode numbers")?;
        let ino = range.first;
        if range.first == range.last {
            self.ranges.pop_front();
        } else {
            range.first.0 += 1;
        }
        Ok(ino)
    }

    /// One message; tells whether it was an answer.
    async fn hear(&mut self) -> anyhow::Result<bool> {
        let msg = self.greeted.recv.next::<ToClient>().await?.context("the rank has hung up")?;
        match msg {
            ToClient::Opened(opened) => self.ranges.extend(opened.ranges),
            ToClient::Renewed { more, .. } => self.ranges.extend(more),
            ToClient::Reply(reply) => {
                ensure!(matches!(reply.outcome, Outcome::Done(_)), "refused: {reply:?}");
                self.answered = self.answered.max(reply.id.0);
                return Ok(true);
            }
            ToClient::Notice { id, .. } => self.say(&ToMds::Acked(id)).await?,
            ToClient::Durable { .. }
            | ToClient::Route(_)
            | ToClient::NotHeld { .. }
            | ToClient::NotLocked { .. } => {}
            ToClient::Evicted => bail!("evicted"),
        }
        Ok(false)
    }

    /// Keeps the lease, and gets inode numbers before the last is used.
    fn renew(&mut self) {
        let left = |range: &InoRange| range.last.0 - range.first.0 + 1;
        let inos_left: u64 = self.ranges.iter().map(left).sum();
        let pause = if inos_left < 2 * INO_RANGE_LOW { RENEW_SOON } else { LEASE_RENEW };
        if self.renewed.elapsed() > pause {
            self.renewed = Instant::now();
            // The rank lends when few are left: told early, it lends before there are none.
            let inos_left = inos_left.min(INO_RANGE_LOW - 1);
            self.greeted.send.queue(&ToMds::Renew { inos_left });
        }
    }

    async fn measure(
        &mut self,
        what: &str,
        depth: usize,
        ops: u64,
        mut op: impl FnMut(&mut Self, u64) -> anyhow::Result<Op>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let (mut asked, mut answered) = (0, 0);
        while answered < ops {
            self.renew();
            while asked < ops && asked - answered < depth as u64 {
                let op = op(self, asked)?;
                let request = self.request(op)?;
                self.greeted.send.queue(&ToMds::Request(request));
                asked += 1;
            }
            self.greeted.send.flush().await?;
            answered += u64::from(self.hear().await?);
        }
        let spent = begun.elapsed();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = ops as f64 / spent.as_secs_f64();
        writeln!(std::io::stdout(), "{what} depth {depth}: {rate:.0}/s")?;
        Ok(())
    }

    fn request(&mut self, op: Op) -> anyhow::Result<Request> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let at = Timestamp { secs: i64::try_from(since.as_secs())?, nanos: since.subsec_nanos() };
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let oldest = RequestId(self.answered.saturating_sub(64).max(1));
        Ok(Request { id, oldest, caller: Caller::default(), at, replay: None, op })
    }
}
