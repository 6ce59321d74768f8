//! A mount's life: checks, the first question, the kernel's session, the clean end.

pub mod dead;
pub mod guard;
pub mod options;
pub mod presence;
pub mod process;
pub mod remount;
mod root;
pub mod source;
pub mod table;
pub mod users;

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread;
use std::time::Duration;

use client_core::{Call, Input, Params};
use common::error::FsError;
use common::id::{ClientId, ClusterId};
use common::wire::hello::Identity;
use common::wire::request::Caller;
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use rustix::mount::{UnmountFlags, unmount};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use transport::CredentialsError;

use crate::client::{Client, DIALS_MAX};
use crate::cluster::{Cluster, ClusterError};
use crate::config::Settings;
use crate::data::{DataStore, FileStore, OpenError};
use crate::fuse::{Fuse, Kernel, KernelCaches, NameDropper, Root, Rooted};
use crate::mount::guard::Guard;
use crate::mount::options::Options;
use crate::mount::presence::Presence;
use crate::mount::source::Source;
use crate::pool::Pool;
use crate::transport::{Parties, Transport};
use crate::watcher;

/// How long the end of a mount waits for everything to be durable.
const LAST_SYNC: Duration = Duration::from_secs(5);
/// Threads for the data store.
const POOL_THREADS: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("the mountpoint {} cannot be used: {reason}; make the directory first", path.display())]
    Mountpoint { path: PathBuf, reason: io::Error },
    #[error("the mountpoint {} is not a directory; name a directory", .0.display())]
    NotDirectory(PathBuf),
    #[error("a GroveFS is mounted at {} already; `grove umount` it first", .0.display())]
    MountedAlready(PathBuf),
    #[error(
        "no data store is named; use -o data=file:///DIR, GROVE_DATA or `data` in client.toml, with \
         the folder that `grove store init` made"
    )]
    NoDataStore,
    #[error(transparent)]
    DataStore(#[from] OpenError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("rank 0 does not answer (it is `{state}`); `grove status` shows the cluster")]
    NoAnswer { state: &'static str },
    #[error("there is no `{0}` in the file system; mount what is above it, and make it there")]
    NoSource(String),
    #[error("`{0}` is not a directory; only directories can be mounted")]
    SourceNotDirectory(String),
    #[error("`{0}` is a symbolic link, which is not followed; name the directory it leads to")]
    SourceIsLink(String),
    #[error("the directory `{path}` cannot be read: {reason}")]
    Root { path: String, reason: FsError },
    #[error("nobody answers for `{0}`; `grove status` shows the cluster")]
    NoAnswerFor(String),
    #[error("cannot start: {0}")]
    Start(io::Error),
    #[error("the kernel refuses the mount: {0}; is the fuse module loaded, and are you root?")]
    Kernel(io::Error),
}

/// A file system that is mounted and served.
#[derive(Debug)]
pub struct Mount {
    mountpoint: PathBuf,
    client: Arc<Client>,
    transport: Transport,
    session: BackgroundSession,
    /// Held until the process ends.
    presence: Option<Presence>,
    guard: Option<Guard>,
}

/// Everything a mount needs but the kernel's part.
struct Ready {
    cluster: ClusterId,
    id: ClientId,
    client: Arc<Client>,
    transport: Transport,
    data: Arc<dyn DataStore>,
    root: Root,
}

impl Ready {
    /// Reaches the cluster, and finds the directory that is to be mounted.
    fn reach(settings: &Settings, options: &Options, source: &Source) -> Result<Self, MountError> {
        let id = ClientId(random_number().map_err(MountError::Start)?);
        let (data, parties, map) = {
            let mut cluster = Cluster::connect(settings, Identity::Client(id))?;
            bury_the_dead(&mut cluster);
            let address = options.data.as_ref().or(settings.data.as_ref());
            let address = address.ok_or(MountError::NoDataStore)?;
            let data: Arc<dyn DataStore> = Arc::new(FileStore::open(address, cluster.map())?);
            let monitor = cluster.monitor_at();
            let parties = Parties { cluster: cluster.id(), client: id, monitor };
            (data, parties, cluster.map().clone())
        };
        let cluster = parties.cluster;
        let (dials, orders) = mpsc::channel(DIALS_MAX);
        let params = Params { client: id, nowsync: options.nowsync };
        let client = Arc::new(Client::new(params, dials, Some(Arc::clone(&data))));
        let transport =
            Transport::start(settings.credentials()?, parties, Arc::clone(&client), orders)
                .map_err(MountError::Start)?;
        client.handle(Input::Map(map));
        watcher::start(Arc::downgrade(&client)).map_err(MountError::Start)?;
        match root::find(&client, &source.path) {
            Ok(root) => Ok(Self { cluster, id, client, transport, data, root }),
            Err(error) => {
                part(&client, transport);
                Err(error)
            }
        }
    }
}

/// Gives everything back: a rank that did not hear of it would keep files for us until a lease ends.
fn part(client: &Client, transport: Transport) {
    client.handle(Input::Close);
    transport.stop();
}

/// Whether it could be mounted, as far as that is known without doing so.
///
/// # Errors
/// See [`Mount::start`].
pub fn check(
    settings: &Settings,
    options: &Options,
    source: &Source,
    mountpoint: &Path,
) -> Result<(), MountError> {
    check_mountpoint(mountpoint, Dead::Stays)?;
    let ready = Ready::reach(settings, options, source)?;
    part(&ready.client, ready.transport);
    Ok(())
}

impl Mount {
    /// Checks everything that can be checked, then mounts. It is usable when this returns.
    ///
    /// # Errors
    /// Names what is wrong, and what to do about it. Nothing is mounted then.
    pub fn start(
        settings: &Settings,
        options: &Options,
        source: &Source,
        mountpoint: &Path,
    ) -> Result<Self, MountError> {
        let mountpoint = check_mountpoint(mountpoint, Dead::Goes)?;
        let ready = Ready::reach(settings, options, source)?;
        let pool = Pool::new(POOL_THREADS).map_err(MountError::Start)?;
        let Ready { cluster, id, client, transport, data, root } = ready;
        let rooted = Rooted::new(Arc::clone(&client), root, options.durability);
        let fuse = Fuse::new(Arc::new(rooted), data, pool, options.profile);
        let session = match mount(&mountpoint, fuse, source, options) {
            Ok(session) => session,
            Err(error) => {
                part(&client, transport);
                return Err(error);
            }
        };
        let kernel = Kernel::new(session.notifier(), root);
        let dropper = NameDropper::start(kernel.clone());
        client.drop_names_with(dropper.map_err(MountError::Start)?);
        let caches = KernelCaches::start(kernel, &Arc::downgrade(&client));
        if let Some(caches) = caches.map_err(MountError::Start)? {
            client.cache_with(caches);
        }
        let presence = presence::show(&mountpoint, cluster, id);
        if let Err(error) = &presence {
            tracing::warn!(%error, "cannot record the mount; `grove umount` will not wait for us");
        }
        let guard = Guard::start(&mountpoint);
        if let Err(error) = &guard {
            tracing::warn!(%error, "no guard: if this process is killed, its users may hang");
        }
        let (presence, guard) = (presence.ok(), guard.ok());
        Ok(Self { mountpoint, client, transport, session, presence, guard })
    }

    /// Serves until the file system is unmounted, by somebody else or because of SIGINT or SIGTERM;
    /// then makes everything durable and gives everything back.
    ///
    /// # Errors
    /// The kernel's session broke.
    pub fn serve(self) -> io::Result<()> {
        let Self { mountpoint, client, transport, session, presence, guard } = self;
        let (ended, end) = oneshot::channel();
        thread::Builder::new().name("grove-session".to_owned()).spawn(move || {
            let _ = ended.send(session.join());
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(wait_for_end(&mountpoint, end));
        tracing::info!("unmounted");
        // Before this process ends: the number of the mount may belong to another one by now.
        drop(guard);
        sync(&client);
        part(&client, transport);
        if let Some(presence) = presence {
            presence.done();
        }
        result
    }
}

/// What becomes of a mount that was killed, and is in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dead {
    Goes,
    Stays,
}

fn check_mountpoint(path: &Path, killed: Dead) -> Result<PathBuf, MountError> {
    let unusable = |reason| MountError::Mountpoint { path: path.to_owned(), reason };
    let path = table::locate(path).map_err(unusable)?;
    let unusable = |reason| MountError::Mountpoint { path: path.clone(), reason };
    while let Some(mounted) = table::find(&path).map_err(unusable)? {
        if !dead::is_dead(&mounted) {
            return Err(MountError::MountedAlready(path));
        }
        if killed == Dead::Stays {
            return Ok(path);
        }
        tracing::warn!(mountpoint = %path.display(), "taking the place of a mount that was killed");
        dead::unmount_dead(&path).map_err(unusable)?;
    }
    if !path.metadata().map_err(unusable)?.is_dir() {
        return Err(MountError::NotDirectory(path));
    }
    Ok(path)
}

/// Those that were killed on this machine hold things, and are waited for, until their leases end.
fn bury_the_dead(cluster: &mut Cluster) {
    for dead in presence::dead(cluster.id()) {
        tracing::info!(client = dead.client.0, "ending the sessions of a mount that was killed");
        match cluster.end_sessions(dead.client) {
            Ok(()) => dead.is_buried(),
            // Their leases will.
            Err(error) => tracing::info!(%error, "not everywhere"),
        }
    }
}

/// Chosen so that no two mounts have the same.
pub(crate) fn random_number() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn mount(
    mountpoint: &Path,
    fuse: Fuse,
    source: &Source,
    options: &Options,
) -> Result<BackgroundSession, MountError> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(source.text.to_string_lossy().into_owned()),
        MountOption::CUSTOM(format!("subtype={}", table::FILE_SYSTEM.trim_start_matches("fuse."))),
        MountOption::DefaultPermissions,
    ];
    config.mount_options.extend(options.kernel.iter().cloned());
    config.acl = SessionACL::All;
    config.n_threads = Some(options.threads);
    config.clone_fd = true;
    let session = Session::new(fuse, mountpoint, &config).map_err(MountError::Kernel)?;
    session.spawn().map_err(MountError::Kernel)
}

/// Waits for the kernel's session to end; a signal makes it end.
async fn wait_for_end(
    mountpoint: &Path,
    mut end: oneshot::Receiver<io::Result<()>>,
) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            ended = &mut end => return ended.unwrap_or(Ok(())),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        match unmount(mountpoint, UnmountFlags::empty()) {
            Ok(()) => {}
            Err(rustix::io::Errno::BUSY) => {
                tracing::warn!("in use: the mount ends when its last user has gone");
                unmount(mountpoint, UnmountFlags::DETACH)?;
            }
            Err(error) => tracing::warn!(%error, "cannot unmount"),
        }
    }
}

fn sync(client: &Arc<Client>) {
    let (sender, answer) = std_mpsc::channel();
    client.call((Caller::default(), 0), Call::Sync, move |result, _| {
        let _ = sender.send(result);
    });
    if answer.recv_timeout(LAST_SYNC).is_err() {
        tracing::warn!("not everything is known to be durable");
    }
}
